"""The demo: a capture of real traffic, played into the node as if it happened now."""
