"""Measured figures, printed with the machine they came from."""
