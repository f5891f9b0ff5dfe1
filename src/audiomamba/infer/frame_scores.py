"""Scores and embeddings of every moment of a recording, block by block.

Most models pool what they find in single steps of time; such a model scores every step of a window
itself. How it scores the window as a whole says how far that can be trusted, out-of-distribution
detection included; so a frame's score is the geometric mean of both. Other models, such as those
with a class token, score windows only, which then begin at shorter distances.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audiomamba.audio.blocks import OnDamage
from audiomamba.infer.frame_stream import FrameStream, WindowSteps
from audiomamba.infer.framing import Framing, for_moments, step_samples, window_and_hop
from audiomamba.infer.onnx_network import OnnxNetwork
from audiomamba.infer.recording import Audio
from audiomamba.infer.sound_model import WINDOWS_PER_BATCH, SoundModel
from audiomamba.infer.windows import WindowBatch, cut

__all__ = ["Listener", "embed_frames", "mean_around", "score_frames", "score_frames_live"]

Listener = Callable[[Tensor], object]
_Inputs = Callable[[SoundModel, WindowBatch], tuple[Tensor, Tensor | None]]
_Values = Callable[[SoundModel, Tensor, Tensor | None], Tensor]


def score_frames(
    sound_model: SoundModel,
    recording: Audio,
    framing: Framing | None = None,
    *,
    listener: Listener | None = None,
    on_damage: OnDamage | None = None,
) -> FrameStream:
    """Score every moment of a recording, block by block.

    Args:
        sound_model: the model.
        recording: as for Tagger.tag.
        framing: how the recording becomes frames; None for the defaults.
        listener: is given all samples (samples,) once, in order, as they are read.
        on_damage: as for audio.stream.

    Returns:
        Blocks (frames, classes) float32, each from 0 to 1, that follow one another.

    Raises:
        AudioError: as for Tagger.tag; when a block is asked for.
        ConfigError: as for Tagger.tag, or the framing does not fit the model.
    """
    blocks = sound_model.blocks(recording, on_damage=on_damage)
    if listener is not None:
        blocks = _listened_to(blocks, listener)
    framing = for_moments(sound_model, framing or Framing())
    return _stream(sound_model, blocks, framing, _step_scores)


def score_frames_live(
    sound_model: SoundModel,
    blocks: Iterator[Tensor],
    framing: Framing,
    *,
    batch_size: int = 1,
) -> FrameStream:
    """Score every moment of sound that is still coming: each window as soon as it is full.

    Args:
        sound_model: the model.
        blocks: (samples,) at the model's rate, of any lengths.
        framing: how the sound becomes frames.
        batch_size: windows that are waited for and scored together, at least 1.

    Returns:
        As for score_frames.

    Raises:
        ConfigError: as for score_frames.
    """
    return _stream(sound_model, blocks, framing, _step_scores, batch_size=batch_size)


def embed_frames(
    sound_model: SoundModel,
    recording: Audio,
    framing: Framing | None = None,
    *,
    on_damage: OnDamage | None = None,
) -> FrameStream:
    """Embed every moment of a recording, block by block.

    Args:
        sound_model: the model.
        recording: as for Tagger.tag.
        framing: how the recording becomes frames; None for the defaults.
        on_damage: as for audio.stream.

    Returns:
        Blocks (frames, dim) float32 that follow one another.

    Raises:
        AudioError: as for Tagger.tag; when a block is asked for.
        ConfigError: as for Tagger.tag, or the framing does not fit the model.
    """
    blocks = sound_model.blocks(recording, on_damage=on_damage)
    return _stream(sound_model, blocks, framing or Framing(), _step_embeddings)


def _stream(
    sound_model: SoundModel,
    blocks: Iterator[Tensor],
    framing: Framing,
    values: _Values,
    batch_size: int = WINDOWS_PER_BATCH,
) -> FrameStream:
    """The frames of a recording with what `values` gives for its windows."""
    step, window = step_samples(sound_model, framing), window_and_hop(sound_model, framing)
    inputs: _Inputs = _window_inputs if window is not None else _one_pass_inputs
    return FrameStream(
        _as_one_window(blocks) if window is None else cut(blocks, *window, batch_size=batch_size),
        lambda batch: _window_steps(sound_model, batch, inputs, values),
        step=step,
        sample_rate=sound_model.front_end.sample_rate,
    )


def _listened_to(blocks: Iterator[Tensor], listener: Listener) -> Iterator[Tensor]:
    for block in blocks:
        listener(block)
        yield block


def _as_one_window(blocks: Iterator[Tensor]) -> Iterator[WindowBatch]:
    """The recording as one window."""
    samples = torch.cat(list(blocks))
    yield WindowBatch(samples[None], torch.zeros(1).long(), torch.tensor([len(samples)]))


def _window_inputs(sound_model: SoundModel, batch: WindowBatch) -> tuple[Tensor, Tensor | None]:
    return sound_model.inputs(batch)


def _one_pass_inputs(sound_model: SoundModel, batch: WindowBatch) -> tuple[Tensor, Tensor | None]:
    """As SoundModel.inputs, of a whole recording."""
    return sound_model.one_pass_inputs(batch.samples[0]), None


@torch.inference_mode()
def _window_steps(
    sound_model: SoundModel, batch: WindowBatch, inputs: _Inputs, values: _Values
) -> list[WindowSteps]:
    """What the model says of windows, step by step."""
    features, lengths = inputs(sound_model, batch)
    n_frames = [features.shape[1]] * len(features) if lengths is None else lengths.tolist()
    found = []
    for start, length, row, count in zip(
        batch.starts.tolist(),
        batch.lengths.tolist(),
        values(sound_model, features, lengths).cpu(),
        n_frames,
        strict=True,
    ):
        steps = sound_model.model.frame_steps(count)
        if len(row) == 1:  # of the window as a whole
            found.append(WindowSteps(start, length, row, float(length)))
        else:
            step = steps.n_frames * sound_model.front_end.shift_samples
            found.append(WindowSteps(start, length, row[: steps.count], step))
    return found


def _step_scores(sound_model: SoundModel, features: Tensor, lengths: Tensor | None) -> Tensor:
    """Scores (windows, steps, classes); a single step where a model scores windows only."""
    network = sound_model.model
    if not network.pools_frames:
        return sound_model.score_features(features, lengths)[:, None]
    if isinstance(network, OnnxNetwork):
        return sound_model.shown(network.output("frame_scores", features))
    if sound_model.ood_detector is None:
        logits = network.frame_logits(features, lengths)
        whole = sound_model.logits_to_scores(mean_around(sound_model, logits))
    else:
        embeddings = network.frame_embeddings(features, lengths)
        linear = isinstance(network.head, nn.Linear)
        logits = network.head(embeddings) if linear else network.frame_logits(features, lengths)
        around = mean_around(sound_model, embeddings)
        factor = sound_model.ood_detector(around.flatten(0, 1)).view(*around.shape[:2], 1)
        whole = sound_model.logits_to_scores(mean_around(sound_model, logits)) * factor
    return sound_model.shown((sound_model.logits_to_scores(logits) * whole).sqrt())


def _step_embeddings(sound_model: SoundModel, features: Tensor, lengths: Tensor | None) -> Tensor:
    """Embeddings (windows, steps, dim)."""
    return sound_model.model.frame_embeddings(features, lengths)


def mean_around(sound_model: SoundModel, values: Tensor) -> Tensor:
    """Average what is around each step, over as many steps as the model's own input has.

    Args:
        sound_model: the model.
        values: (windows, steps, channels).

    Returns:
        (windows, steps, channels); or (windows, 1, channels), the mean of all steps, where these
        are no more than the model's input has.
    """
    width = sound_model.model.frame_steps(sound_model.front_end.n_frames).count
    if values.shape[1] <= width:
        return values.mean(dim=1, keepdim=True)
    half = width // 2
    means = F.avg_pool1d(
        values.transpose(1, 2), 2 * half + 1, stride=1, padding=half, count_include_pad=False
    )
    return means.transpose(1, 2)
