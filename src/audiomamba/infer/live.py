"""Sound that is still coming: what is heard, in windows or as events, as soon as it can be."""

from collections.abc import Iterable, Iterator

from torch import Tensor

from audiomamba.infer.batch import kept_tags
from audiomamba.infer.events import EventFinder, EventRule
from audiomamba.infer.frame_scores import score_frames_live
from audiomamba.infer.framing import Framing
from audiomamba.infer.reading import Reading, TagOptions
from audiomamba.infer.results import Event, TaggedWindow
from audiomamba.infer.sound_model import SoundModel
from audiomamba.infer.windows import cut

__all__ = ["HOP_S", "find_events_live", "live_reading", "live_rule", "tag_live"]

HOP_S = 1.0


def tag_live(
    sound_model: SoundModel, blocks: Iterable[Tensor], options: TagOptions
) -> Iterator[TaggedWindow]:
    """Tag sound as it comes.

    A window is tagged as soon as its last sample is there, so that a sound is reported at most a
    hop later, once the first window is full; and the time that the model takes for a window.

    Args:
        sound_model: the model.
        blocks: the sound, (samples,) at the model's rate, in blocks of any lengths.
        options: the windows, whose hop is HOP_S or shorter by default, and which tags are kept.

    Yields:
        The tags, window by window; the last window may be shorter.

    Raises:
        ConfigError: a length in the options is out of its range.
    """
    rate = sound_model.front_end.sample_rate
    n_samples, hop = sound_model.window_and_hop(live_reading(sound_model, options))
    for batch in cut(blocks, n_samples, hop, batch_size=1):
        start, length = int(batch.starts), int(batch.lengths)
        tags = kept_tags(sound_model.ranked(sound_model.score_windows(batch)[0]), options)
        yield TaggedWindow(start / rate, (start + length) / rate, tags)


def find_events_live(
    sound_model: SoundModel, blocks: Iterator[Tensor], reading: Reading, rule: EventRule
) -> Iterator[Event]:
    """Find events in sound as it comes.

    An event is reported when it is certain that it is over: at most a window, a hop and half the
    rule's median filter after the gap that ends it.

    Args:
        sound_model: the model.
        blocks: as for tag_live.
        reading: the windows, as for tag_live.
        rule: how scores become events.

    Yields:
        The events, in the order in which they become certain.

    Raises:
        ConfigError: as for tag_live.
        UnknownNameError: the rule names a class that the model has not.
    """
    reading = live_reading(sound_model, reading)
    framing = Framing(window_s=reading.window_s, hop_s=reading.hop_s)
    finder = EventFinder(sound_model.labels, framing.step_s, rule)
    frames = score_frames_live(sound_model, blocks, framing)
    for block in frames:
        yield from finder.add(block)
    yield from finder.finish(frames.seconds)


def live_rule(sound_model: SoundModel, threshold: float | None) -> EventRule:
    """Choose from which score on an event is heard, in sound that is still coming.

    Args:
        sound_model: the model.
        threshold: of all labels; None or 0 for the model's own, where it has them.

    Returns:
        The rule, else as by default.

    Examples:
        >>> from audiomamba import load
        >>> live_rule(load("general"), 0.5).threshold
        0.5
    """
    chosen = threshold or sound_model.thresholds
    return EventRule(threshold=chosen) if chosen else EventRule()


def live_reading(sound_model: SoundModel, reading: Reading) -> Reading:
    """Choose the windows of sound that is still coming.

    Args:
        sound_model: the model.
        reading: the windows that were asked for.

    Returns:
        The same, with a hop of HOP_S or shorter where none was asked for.

    Raises:
        ConfigError: a length is out of its range.
    """
    if reading.hop_s is not None:
        return reading
    n_samples, _ = sound_model.window_and_hop(reading)
    hop_s = min(HOP_S, n_samples / sound_model.front_end.sample_rate)
    return Reading(window_s=reading.window_s, hop_s=hop_s)
