"""Recordings in, tags out: any length, one model loaded once."""

from audiomamba.infer.files import Failed, Tagged, tag_files
from audiomamba.infer.tagger import Tag, Tagger, load

__all__ = ["Failed", "Tag", "Tagged", "Tagger", "load", "tag_files"]
