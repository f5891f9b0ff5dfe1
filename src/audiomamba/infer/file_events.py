"""The events of many recordings, one after the other."""

from collections.abc import Iterable, Iterator
from os import PathLike
from pathlib import Path

from audiomamba.errors import AudioError, MissingDependencyError
from audiomamba.infer.events import EventFinder, EventRule, in_order
from audiomamba.infer.frame_scores import Listener, score_frames
from audiomamba.infer.framing import Framing, step_samples, window_and_hop
from audiomamba.infer.recording import as_paths
from audiomamba.infer.results import Failed, RecordingEvents
from audiomamba.infer.sound_model import SoundModel

__all__ = ["find_events_in_files"]


def find_events_in_files(
    sound_model: SoundModel,
    files: str | PathLike[str] | Iterable[str | PathLike[str]],
    framing: Framing | None = None,
    rule: EventRule | None = None,
    *,
    listener: Listener | None = None,
) -> Iterator[RecordingEvents | Failed]:
    """Find the events of recordings, with memory that does not grow with their length.

    Args:
        sound_model: the model.
        files: the recordings, or a single one.
        framing: how a recording becomes frames; None for the defaults.
        rule: how frames become events; None for the defaults.
        listener: as for score_frames.

    Returns:
        One result per recording, in their order, each when it is asked for; one that fails does not
        stop the others.

    Raises:
        ConfigError: the framing does not fit the model.
        UnknownNameError: the rule names a class that the model has not.

    Examples:
        >>> import audiomamba
        >>> tagger = audiomamba.load("general")
        >>> (found,) = find_events_in_files(tagger, [Path("my-clips/dog/1.wav")])
        >>> found.seconds, found.step_s
        (0.5, 0.1)
    """
    framing, rule = framing or Framing(), rule or EventRule()
    step_samples(sound_model, framing)  # what is wrong is said before the first recording is read
    window_and_hop(sound_model, framing)
    EventFinder(sound_model.labels, framing.step_s, rule)
    return (_find_events(sound_model, file, framing, rule, listener) for file in as_paths(files))


def _find_events(
    sound_model: SoundModel,
    file: Path,
    framing: Framing,
    rule: EventRule,
    listener: Listener | None,
) -> RecordingEvents | Failed:
    """The events of one recording."""
    finder = EventFinder(sound_model.labels, framing.step_s, rule)
    damages: list[AudioError] = []
    frames = score_frames(sound_model, file, framing, listener=listener, on_damage=damages.append)
    try:
        events = [event for block in frames for event in finder.add(block)]
    except (AudioError, MissingDependencyError) as error:
        return Failed(file, error)
    events = in_order(events + finder.finish(frames.seconds))
    damage = next(iter(damages), None)
    return RecordingEvents(file, frames.seconds, framing.step_s, events, damage)
