"""A tagger of one's own, with nothing to decide."""

__all__: list[str] = []
