"""A tagger of one's own, with nothing to decide."""
