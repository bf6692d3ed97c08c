"""Live state and its transitions."""
