"""The virtual board: a core, its memories and a serial line."""
