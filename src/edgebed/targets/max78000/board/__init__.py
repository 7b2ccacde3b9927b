"""The virtual MAX78000 board: one file a peripheral, and the run loop that joins them."""
