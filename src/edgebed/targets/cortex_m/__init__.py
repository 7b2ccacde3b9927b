"""Arm Cortex-M microcontrollers without operating system."""
