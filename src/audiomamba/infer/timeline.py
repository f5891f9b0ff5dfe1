"""What is heard when: scores of every moment of a recording, and the events in them.

Most models pool what they find in single steps of time; such a model scores every step of a window
itself. How it scores the window as a whole says how far that can be trusted, and how familiar the
sound is; so a frame's score is the geometric mean of both. Other models, such as those with a class
token, score windows only, which then begin at shorter distances.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audiomamba import audio
from audiomamba.errors import AudioError, ConfigError, MissingDependencyError, UnknownNameError
from audiomamba.infer.events import Event, EventFinder, EventRule, find_events, in_order
from audiomamba.infer.files import Failed
from audiomamba.infer.frames import FrameMerger, Piece
from audiomamba.infer.tagger import Audio, Tagger
from audiomamba.infer.windows import WindowBatch, cut

__all__ = [
    "FrameStream",
    "Framing",
    "Heard",
    "Timeline",
    "embedding_frames",
    "find_in_files",
    "score_blocks",
    "score_frames",
    "timeline",
]

STEP_S = 0.1
OVERLAP = 2  # windows that a moment is in, where a window's steps are scored
OVERLAP_OF_WHOLE = 10  # the same where windows are scored as a whole
BATCH = 8

MODES = ("windows", "native")
Listener = Callable[[Tensor], object]
_Values = Callable[[Tagger, Tensor, Tensor | None], Tensor]


@dataclass(frozen=True, kw_only=True)
class Framing:
    """How a recording becomes frames.

    Args:
        step_s: seconds from one frame to the next, at least one of the front end's frames.
        mode: "windows" reads overlapping windows of the model's length, with memory that does not
            grow with the recording; "native" reads the recording in one pass, where the model can.
        window_s: length of a window in seconds, at most the model's input; None for that.
        hop_s: seconds from one window's start to the next's, at most window_s; None for half of it,
            or a tenth where a model scores windows only.

    Raises:
        UnknownNameError: there is no such mode.
    """

    step_s: float = STEP_S
    mode: str = "windows"
    window_s: float | None = None
    hop_s: float | None = None

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise UnknownNameError("mode", self.mode, MODES)


@dataclass(frozen=True)
class Timeline:
    """Scores of every moment of a recording.

    Args:
        labels: the classes.
        step_s: seconds from one frame to the next; the first begins with the recording.
        seconds: length of the recording.
        scores: (frames, classes) float32, each from 0 to 1; as many frames as cover the recording.
    """

    labels: tuple[str, ...]
    step_s: float
    seconds: float
    scores: Tensor

    def events(self, rule: EventRule | None = None) -> list[Event]:
        """Find what is heard from when to when.

        Args:
            rule: how scores become events; None for the defaults.

        Returns:
            The events in the order of their starts.

        Raises:
            UnknownNameError: the rule names a class that the model has not.
        """
        return find_events(self.scores, self.labels, self.step_s, rule, seconds=self.seconds)


@dataclass(frozen=True, slots=True)
class Heard:
    """The events of one recording.

    Args:
        file: the recording.
        seconds: its length.
        step_s: seconds from one frame to the next.
        events: in the order of their starts; may be empty.
    """

    file: Path
    seconds: float
    step_s: float
    events: Sequence[Event]


class FrameStream(Iterator[Tensor]):
    """The frames of a recording, block by block, as soon as they are complete.

    Args:
        batches: the windows of the recording.
        pieces: what the model says of them.
        step: samples from one frame to the next.
        sample_rate: of the windows, in Hz.
    """

    def __init__(
        self,
        batches: Iterator[WindowBatch],
        pieces: Callable[[WindowBatch], list[Piece]],
        *,
        step: float,
        sample_rate: int,
    ) -> None:
        self._n_samples, self._rate = 0, sample_rate
        self._blocks = self._merge(batches, pieces, step)

    def __next__(self) -> Tensor:
        return next(self._blocks)

    @property
    def seconds(self) -> float:
        """Length of what was read of the recording so far."""
        return self._n_samples / self._rate

    def _merge(
        self,
        batches: Iterator[WindowBatch],
        pieces: Callable[[WindowBatch], list[Piece]],
        step: float,
    ) -> Iterator[Tensor]:
        merger: FrameMerger | None = None
        for batch in batches:
            self._n_samples = int((batch.starts + batch.lengths).max())
            found = pieces(batch)
            merger = merger or FrameMerger(step, found[0].values.shape[1])
            for piece in found:
                yield merger.add(piece)
        if merger is not None:
            yield merger.finish()


def score_frames(
    tagger: Tagger,
    recording: Audio,
    framing: Framing | None = None,
    *,
    listener: Listener | None = None,
) -> FrameStream:
    """Score every moment of a recording, block by block.

    Args:
        tagger: the model.
        recording: as for Tagger.tag.
        framing: how the recording becomes frames; None for the defaults.
        listener: is given all samples (samples,) once, in order, as they are read.

    Returns:
        Blocks (frames, classes) float32, each from 0 to 1, that follow one another.

    Raises:
        AudioError: as for Tagger.tag; when a block is asked for.
        ConfigError: as for Tagger.tag, or the framing does not fit the model.
    """
    blocks = tagger.blocks(recording)
    if listener is not None:
        blocks = _heard(blocks, listener)
    return _stream(tagger, blocks, framing or Framing(), _scores)


def score_blocks(tagger: Tagger, blocks: Iterator[Tensor], framing: Framing) -> FrameStream:
    """Score every moment of sound that is still coming: each window as soon as it is full.

    Args:
        tagger: the model.
        blocks: (samples,) at the model's rate, of any lengths.
        framing: how the sound becomes frames.

    Returns:
        As for score_frames.

    Raises:
        ConfigError: as for score_frames.
    """
    return _stream(tagger, blocks, framing, _scores, batch_size=1)


def embedding_frames(
    tagger: Tagger, recording: Audio, framing: Framing | None = None
) -> FrameStream:
    """Embed every moment of a recording, block by block.

    Args:
        tagger: the model.
        recording: as for Tagger.tag.
        framing: how the recording becomes frames; None for the defaults.

    Returns:
        Blocks (frames, dim) float32 that follow one another.

    Raises:
        AudioError: as for Tagger.tag; when a block is asked for.
        ConfigError: as for Tagger.tag, or the framing does not fit the model.
    """
    return _stream(tagger, tagger.blocks(recording), framing or Framing(), _embeddings)


def timeline(tagger: Tagger, recording: Audio, framing: Framing | None = None) -> Timeline:
    """Score every moment of a recording.

    Args:
        tagger: the model.
        recording: as for Tagger.tag.
        framing: how the recording becomes frames; None for the defaults.

    Returns:
        The scores of the whole recording.

    Raises:
        AudioError: as for Tagger.tag.
        ConfigError: as for Tagger.tag, or the framing does not fit the model.
    """
    framing = framing or Framing()
    frames = score_frames(tagger, recording, framing)
    scores = torch.cat(list(frames))
    return Timeline(tagger.labels, framing.step_s, frames.seconds, scores)


def find_in_files(
    tagger: Tagger,
    files: Iterable[Path],
    framing: Framing | None = None,
    rule: EventRule | None = None,
    *,
    listener: Listener | None = None,
) -> Iterator[Heard | Failed]:
    """Find the events of recordings, with memory that does not grow with their length.

    Args:
        tagger: the model.
        files: the recordings.
        framing: how a recording becomes frames; None for the defaults.
        rule: how frames become events; None for the defaults.
        listener: as for score_frames.

    Returns:
        One result per recording, in their order, each when it is asked for; one that fails does not
        stop the others.

    Raises:
        ConfigError: the framing does not fit the model.
        UnknownNameError: the rule names a class that the model has not.
    """
    framing, rule = framing or Framing(), rule or EventRule()
    _step(tagger, framing)  # what is wrong is said before the first recording is read
    _window(tagger, framing)
    EventFinder(tagger.labels, framing.step_s, rule)
    return (_find_in_file(tagger, file, framing, rule, listener) for file in files)


def _find_in_file(
    tagger: Tagger, file: Path, framing: Framing, rule: EventRule, listener: Listener | None
) -> Heard | Failed:
    """The events of one recording."""
    finder = EventFinder(tagger.labels, framing.step_s, rule)
    frames = score_frames(tagger, file, framing, listener=listener)
    try:
        events = [event for block in frames for event in finder.add(block)]
    except (AudioError, MissingDependencyError) as error:
        return Failed(file, error)
    events = in_order(events + finder.finish(frames.seconds))
    return Heard(file, frames.seconds, framing.step_s, events)


def _stream(
    tagger: Tagger,
    blocks: Iterator[Tensor],
    framing: Framing,
    values: _Values,
    batch_size: int = BATCH,
) -> FrameStream:
    """The frames of a recording with what `values` says of windows."""
    step, window = _step(tagger, framing), _window(tagger, framing)
    return FrameStream(
        _whole(blocks) if window is None else cut(blocks, *window, batch_size=batch_size),
        lambda batch: _pieces(tagger, batch, values, framing.mode),
        step=step,
        sample_rate=tagger.front_end.sample_rate,
    )


def _heard(blocks: Iterator[Tensor], listener: Listener) -> Iterator[Tensor]:
    for block in blocks:
        listener(block)
        yield block


def _step(tagger: Tagger, framing: Framing) -> float:
    """Samples from one frame to the next."""
    rate, shift = tagger.front_end.sample_rate, tagger.front_end.shift_samples
    step = framing.step_s * rate
    if not shift <= step < float("inf"):
        raise ConfigError(
            f"a step of {framing.step_s} s was asked for; "
            f"{tagger.name} has frames of {shift / rate:g} s, so expected at least that"
        )
    return step


def _window(tagger: Tagger, framing: Framing) -> tuple[int, int] | None:
    """Samples in a window, and from one window's start to the next's; None for one pass."""
    model = tagger.model
    if framing.mode == "windows":
        n_samples, hop = tagger.window_samples(framing.window_s, framing.hop_s)
        overlap = OVERLAP if model.pools_frames else OVERLAP_OF_WHOLE
        return n_samples, hop if framing.hop_s is not None else max(1, n_samples // overlap)
    if framing.window_s is not None or framing.hop_s is not None:
        raise ConfigError("windows were asked for in mode 'native', which has none")
    if not (model.config.one_pass and model.pools_frames):
        raise ConfigError(
            f"{tagger.name} cannot score the moments of a recording in one pass; use windows"
        )
    return None


def _whole(blocks: Iterator[Tensor]) -> Iterator[WindowBatch]:
    """The recording as one window."""
    samples = torch.cat(list(blocks))
    yield WindowBatch(samples[None], torch.zeros(1).long(), torch.tensor([len(samples)]))


@torch.inference_mode()
def _pieces(tagger: Tagger, batch: WindowBatch, values: _Values, mode: str) -> list[Piece]:
    """What the model says of windows, step by step."""
    front_end, model = tagger.front_end, tagger.model
    if mode == "native":
        features, lengths = audio.features(batch.samples, _unlimited(front_end, batch)), None
    else:
        features, lengths = tagger.inputs(batch)
    features = features.to(next(model.parameters()).device)
    n_frames = [features.shape[1]] * len(features) if lengths is None else lengths.tolist()
    found = []
    for start, length, row, count in zip(
        batch.starts.tolist(),
        batch.lengths.tolist(),
        values(tagger, features, lengths),
        n_frames,
        strict=True,
    ):
        steps = model.frame_steps(count)
        if len(row) == 1:  # of the window as a whole
            found.append(Piece(start, length, row, float(length)))
        else:
            step = steps.n_frames * front_end.shift_samples
            found.append(Piece(start, length, row[: steps.count], step))
    return found


def _unlimited(front_end: audio.FrontEnd, batch: WindowBatch) -> audio.FrontEnd:
    """The front end for a recording in one pass."""
    n_samples = max(batch.samples.shape[1], front_end.window_samples)
    return replace(front_end, n_frames=front_end.frames_in(n_samples))


def _scores(tagger: Tagger, features: Tensor, lengths: Tensor | None) -> Tensor:
    """Scores (windows, steps, classes); a single step where a model scores windows only."""
    model = tagger.model
    if not model.pools_frames:
        return tagger.score_features(features, lengths)[:, None]
    if tagger.familiarity is None:
        logits = model.frame_logits(features, lengths)
        whole = tagger.as_scores(_around(tagger, logits))
    else:
        embeddings = model.frame_embeddings(features, lengths)
        linear = isinstance(model.head, nn.Linear)
        logits = model.head(embeddings) if linear else model.frame_logits(features, lengths)
        around = _around(tagger, embeddings)
        factor = tagger.familiarity(around.flatten(0, 1)).view(*around.shape[:2], 1)
        whole = tagger.as_scores(_around(tagger, logits)) * factor
    return (tagger.as_scores(logits) * whole).sqrt()


def _embeddings(tagger: Tagger, features: Tensor, lengths: Tensor | None) -> Tensor:
    """Embeddings (windows, steps, dim)."""
    return tagger.model.frame_embeddings(features, lengths)


def _around(tagger: Tagger, values: Tensor) -> Tensor:
    """The mean of what is around each step, over as much as the model takes; (b, steps, c)."""
    width = tagger.model.frame_steps(tagger.front_end.n_frames).count
    if values.shape[1] <= width:
        return values.mean(dim=1, keepdim=True)
    half = width // 2
    means = F.avg_pool1d(
        values.transpose(1, 2), 2 * half + 1, stride=1, padding=half, count_include_pad=False
    )
    return means.transpose(1, 2)
