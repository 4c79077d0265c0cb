"""Weights of other libraries and of ours, in files: read and written by name, strict both ways."""
