"""Sound that is still going on: what is heard, in windows or as events, as soon as it can be."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from torch import Tensor

from audiomamba.infer.events import Event, EventFinder, EventRule
from audiomamba.infer.files import Choice
from audiomamba.infer.tagger import Tag, Tagger
from audiomamba.infer.timeline import Framing, score_blocks
from audiomamba.infer.windows import cut

__all__ = ["HOP_S", "Moment", "hear", "listen"]

HOP_S = 1.0


@dataclass(frozen=True, slots=True)
class Moment:
    """What is heard in one window.

    Args:
        start_s: where it begins, in seconds from the beginning of the sound.
        end_s: where it ends.
        tags: the highest score first; may be empty.
    """

    start_s: float
    end_s: float
    tags: list[Tag]


def listen(tagger: Tagger, blocks: Iterable[Tensor], choice: Choice) -> Iterator[Moment]:
    """Tag sound as it comes.

    A window is tagged as soon as its last sample is there, so that whatever is heard is told of at
    most a hop later, once the first window is full; and the time that the model takes for a window.

    Args:
        tagger: the model.
        blocks: the sound, (samples,) at the model's rate, in blocks of any lengths.
        choice: how windows are cut, their hop being HOP_S or shorter by default, and which tags are
            kept.

    Yields:
        What is heard, window by window; the last window may be shorter.

    Raises:
        ConfigError: a length in the choice is out of its range.
    """
    rate = tagger.front_end.sample_rate
    n_samples, hop = tagger.window_samples(choice.window_s, _hop_s(tagger, choice))
    for batch in cut(blocks, n_samples, hop, batch_size=1):
        start, length = int(batch.starts), int(batch.lengths)
        tags = tagger.ranked(tagger.score_windows(batch)[0])[: choice.top]
        kept = [tag for tag in tags if tag.score >= choice.threshold]
        yield Moment(start / rate, (start + length) / rate, kept)


def hear(
    tagger: Tagger, blocks: Iterator[Tensor], choice: Choice, rule: EventRule
) -> Iterator[Event]:
    """Find events in sound as it comes.

    An event is told of when it is certain that it is over: at most a window, a hop and half the
    rule's median filter after the gap that ends it.

    Args:
        tagger: the model.
        blocks: as for listen.
        choice: how windows are cut, as for listen.
        rule: how scores become events.

    Yields:
        The events, in the order in which they become certain.

    Raises:
        ConfigError: as for listen.
        UnknownNameError: the rule names a class that the model has not.
    """
    framing = Framing(window_s=choice.window_s, hop_s=_hop_s(tagger, choice))
    finder = EventFinder(tagger.labels, framing.step_s, rule)
    frames = score_blocks(tagger, blocks, framing)
    for block in frames:
        yield from finder.add(block)
    yield from finder.finish(frames.seconds)


def _hop_s(tagger: Tagger, choice: Choice) -> float:
    """The hop that was asked for, or the default."""
    if choice.hop_s is not None:
        return choice.hop_s
    n_samples = tagger.window_samples(choice.window_s, None)[0]
    return min(HOP_S, n_samples / tagger.front_end.sample_rate)
