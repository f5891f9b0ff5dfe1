from .batch import tag_files as tag_files
from .embedding import embed_files as embed_files
from .events import EventRule as EventRule
from .file_events import find_events_in_files as find_events_in_files
from .framing import Framing as Framing
from .reading import Reading as Reading
from .results import (
    Embedded as Embedded,
    Event as Event,
    Failed as Failed,
    RecordingEvents as RecordingEvents,
    Scored as Scored,
    Tag as Tag,
    Tagged as Tagged,
)
from .sound_model import SoundModel as SoundModel
from .tagger import Tagger as Tagger, load as load
from .timeline import Timeline as Timeline
