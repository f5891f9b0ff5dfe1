"""Recordings in; tags, events and embeddings out: any length, one model loaded once."""

from audiomamba.infer.embed import Embedded, embed_files
from audiomamba.infer.events import Event, EventRule
from audiomamba.infer.files import Failed, Tagged, tag_files
from audiomamba.infer.tagger import Scored, Tag, Tagger, load
from audiomamba.infer.timeline import Framing, Heard, Timeline, find_in_files

__all__ = [
    "Embedded",
    "Event",
    "EventRule",
    "Failed",
    "Framing",
    "Heard",
    "Scored",
    "Tag",
    "Tagged",
    "Tagger",
    "Timeline",
    "embed_files",
    "find_in_files",
    "load",
    "tag_files",
]
