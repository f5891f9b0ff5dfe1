"""Recordings in; tags, events and embeddings out: any length, one model loaded once."""

from audiomamba.infer.batch import tag_files
from audiomamba.infer.embedding import embed_files
from audiomamba.infer.events import EventRule
from audiomamba.infer.file_events import find_events_in_files
from audiomamba.infer.framing import Framing
from audiomamba.infer.reading import Reading
from audiomamba.infer.results import Embedded, Event, Failed, RecordingEvents, Scored, Tag, Tagged
from audiomamba.infer.sound_model import SoundModel
from audiomamba.infer.tagger import Tagger, load
from audiomamba.infer.timeline import Timeline

__all__ = [
    "Embedded",
    "Event",
    "EventRule",
    "Failed",
    "Framing",
    "Reading",
    "RecordingEvents",
    "Scored",
    "SoundModel",
    "Tag",
    "Tagged",
    "Tagger",
    "Timeline",
    "embed_files",
    "find_events_in_files",
    "load",
    "tag_files",
]
