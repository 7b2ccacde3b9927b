"""Makes `programs` importable for the tests of every target."""
