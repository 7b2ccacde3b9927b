"""edgebed: from a neural network to a running edge device."""

__version__ = "0.1.0"
