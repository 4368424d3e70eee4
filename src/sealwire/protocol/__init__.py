"""The formats: bytes in, values out; one specification a file; no I/O, no clock, no randomness of its own."""
