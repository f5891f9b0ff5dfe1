"""Sound segmented in time and frequency: which kind is loudest where in a spectrogram."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from audiomamba.audio import FrontEnd, log_mel_spectrogram, normalize
from audiomamba.audio.mel_scale import from_mel, to_mel
from audiomamba.errors import ConfigError
from audiomamba.vision.pictures import draw_map
from audiomamba.vision.segmenter import Segmenter

__all__ = ["Patch", "draw_sound", "patches", "segment_sound"]

SHORTEST_FRAMES = 5
LEAST_SHARE = 0.1  # of a patch's frames, in which a band has to be of its class
MAGNIFIED = 3  # pixels of a picture per cell


@dataclass(frozen=True)
class Patch:
    """A stretch of time and frequency with one kind of sound.

    Args:
        label: which kind.
        start_s: where it begins.
        end_s: where it ends.
        low_hz: lower edge of its lowest band.
        high_hz: upper edge of its highest band.
    """

    label: str
    start_s: float
    end_s: float
    low_hz: float
    high_hz: float


def segment_sound(model: Segmenter, samples: Tensor, front_end: FrontEnd) -> tuple[Tensor, Tensor]:
    """Find the class of each band at each moment.

    Long sounds are read in windows that overlap by half, whose means count.

    Args:
        model: a segmenter that reads sound, in evaluation mode.
        samples: (samples,) at the front end's rate.
        front_end: how features are made, and how many frames a window has.

    Returns:
        The features (frames, mels), normed, and the classes (mels, frames).

    Raises:
        ConfigError: the model reads images.
        AudioError: there are no samples.
    """
    if not model.config.model.reads_sound:
        raise ConfigError("the model reads images; expected one of sound")
    features = normalize(log_mel_spectrogram(samples, front_end), front_end)
    n_frames, window = len(features), front_end.n_frames
    step = window // 2
    n_windows = max(-(-(n_frames - window) // step), 0) + 1
    missing = window + (n_windows - 1) * step - n_frames
    padded = F.pad(features, (0, 0, 0, missing), value=features.min().item())
    total = padded.new_zeros(model.config.n_classes, front_end.n_mels, len(padded))
    with torch.inference_mode():
        for start in range(0, n_windows * step, step):
            part = slice(start, start + window)
            # A sum ranks the classes as a mean does.
            total[..., part] += model(padded[None, part])[0]
    return features, total[..., :n_frames].argmax(dim=0)


def patches(classes: Tensor, labels: list[str], front_end: FrontEnd) -> list[Patch]:
    """List the stretches of time in which a class is heard, with the bands that it has.

    Args:
        classes: (mels, frames), 0 for the background.
        labels: of the classes.
        front_end: for the times and frequencies of the cells.

    Returns:
        Those of at least 50 ms at 100 frames per second, by their beginning.
    """
    found = []
    for index in range(1, len(labels)):
        of_class = classes == index
        for start, end in _runs(of_class.any(dim=0)):
            if end - start < SHORTEST_FRAMES:
                continue
            shares = of_class[:, start:end].float().mean(dim=1)
            (bands,) = torch.where(shares >= min(LEAST_SHARE, shares.max().item()))
            low, high = int(bands[0]), int(bands[-1])
            found.append(
                Patch(
                    label=labels[index],
                    start_s=round(start * front_end.frame_shift_ms / 1000, 3),
                    end_s=round(end * front_end.frame_shift_ms / 1000, 3),
                    low_hz=round(_band_edge(low, front_end), 1),
                    high_hz=round(_band_edge(high + 1, front_end), 1),
                )
            )
    return sorted(found, key=lambda one: (one.start_s, one.low_hz))


def draw_sound(features: Tensor, classes: Tensor, path: Path) -> None:
    """Lay the colours of classes over a spectrogram, low frequencies below.

    Args:
        features: (frames, mels), normed.
        classes: (mels, frames); the background stays as it is.
        path: a PNG file, which is overwritten.

    Raises:
        OSError: it cannot be written.
    """
    low, high = features.quantile(torch.tensor([0.02, 0.998])).tolist()
    grey = ((features.T - low) / max(high - low, 1e-6)).clamp(0, 1).flip(0)
    image, shown = (_magnified(one) for one in (grey, classes.flip(0)))
    draw_map(image[None].expand(3, -1, -1), shown, path, background=0)


def _magnified(cells: Tensor) -> Tensor:
    return cells.repeat_interleave(MAGNIFIED, dim=0).repeat_interleave(MAGNIFIED, dim=1)


def _runs(active: Tensor) -> list[tuple[int, int]]:
    """Beginnings and ends of the stretches of True."""
    edges = F.pad(active.int(), (1, 1)).diff()
    starts, ends = (torch.where(edges == sign)[0].tolist() for sign in (1, -1))
    return list(zip(starts, ends, strict=True))


def _band_edge(index: int, front_end: FrontEnd) -> float:
    """The frequency between two bands: half way, on the mel scale, between their middles."""
    low, high = (to_mel(hz, front_end) for hz in (front_end.low_hz, front_end.highest_hz))
    return from_mel(low + (high - low) * (index + 0.5) / (front_end.n_mels + 1), front_end)
