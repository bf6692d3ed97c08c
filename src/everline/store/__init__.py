"""The truth: where events and call records are kept."""
