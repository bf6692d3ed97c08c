"""A whole cluster on one machine: a network namespace for each host, real engines in it, links that can be cut."""
