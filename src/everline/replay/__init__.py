"""Send a capture to a node, as its capture agent would."""

__all__: list[str] = []
