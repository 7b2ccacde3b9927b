"""A program's contract as C: pictures into the network, boxes out of it, for every device."""
