"""A node put together from its parts: all of it in one process, or one role of a cluster."""
