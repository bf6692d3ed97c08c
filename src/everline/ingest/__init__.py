"""Sockets, batches and sinks."""
