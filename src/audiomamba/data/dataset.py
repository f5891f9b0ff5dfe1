"""Clips as training examples: decoded once, augmented anew each time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset, default_collate

from audiomamba import audio
from audiomamba.audio import FrontEnd
from audiomamba.data.augment import Augment, change_waveform, draw_box, fill_up, mix
from audiomamba.data.clip_reader import load_clip
from audiomamba.data.clips import Clip, LabelVectors
from audiomamba.data.feature_changes import FeatureChanges, SecondClip, draw_changes
from audiomamba.data.negatives import mirror, synthesize
from audiomamba.data.sampler import clip_rng
from audiomamba.errors import DataError

__all__ = [
    "ClipCache",
    "EvaluationDataset",
    "Example",
    "Statistics",
    "TrainingDataset",
    "clip_features",
    "collate",
    "measure",
]

CACHE_BYTES = 2 << 30  # of decoded sound kept in memory: about 3.6 hours at 16 kHz
LARGEST_INT16 = 32_767  # what the peak of a kept clip becomes


class ClipCache:
    """Decoded clips, kept in memory as 16-bit samples scaled to each clip's peak.

    Clips that do not fit into the budget are decoded each time they are asked for.

    Args:
        clips: the clips.
        sample_rate: rate to decode to, in Hz.
        budget_bytes: memory to use at most.

    Examples:
        >>> from pathlib import Path
        >>> from audiomamba.data import open_manifest
        >>> cache = ClipCache(open_manifest(Path("my-clips")).clips, sample_rate=16_000)
        >>> cache.waveform(0).shape, cache.used_bytes
        ((8000,), 16000)
    """

    def __init__(
        self, clips: Sequence[Clip], sample_rate: int, budget_bytes: int = CACHE_BYTES
    ) -> None:
        self.clips = clips
        self.sample_rate = sample_rate
        self.budget_bytes = budget_bytes
        self.used_bytes = 0
        self._kept: dict[int, tuple[np.ndarray, np.float32]] = {}

    def __len__(self) -> int:
        return len(self.clips)

    def waveform(self, index: int) -> np.ndarray:
        """Return one clip's samples.

        Args:
            index: of the clip in the list.

        Returns:
            (samples,) float32.

        Raises:
            AudioError: the file cannot be read.
            DataError: the piece lies outside the file.
        """
        if index not in self._kept:
            waveform = load_clip(self.clips[index], self.sample_rate).numpy()
            step = np.float32(max(float(np.abs(waveform).max()), 1e-9) / LARGEST_INT16)
            samples = np.rint(waveform / step).astype(np.int16)
            if self.used_bytes + samples.nbytes > self.budget_bytes:
                return samples * step
            self.used_bytes += samples.nbytes
            self._kept[index] = samples, step
        samples, step = self._kept[index]
        return samples * step


class Example(NamedTuple):
    """One training example, or with a leading batch dimension a batch of them.

    Attributes:
        waveform: (samples,) float32.
        n_samples: int64, samples of sound in it; the rest is padding.
        target: (classes,) float32, shares of the labels.
        changes: what is done to its features.
        second: the clip whose features are mixed in.
        clip: index of the clip in the data set, int64.

    Examples:
        >>> from pathlib import Path
        >>> from audiomamba.data import open_manifest
        >>> manifest = open_manifest(Path("my-clips"))
        >>> cache = ClipCache(manifest.clips, sample_rate=16_000)
        >>> vectors = manifest.clips.label_vectors(manifest.labels)
        >>> examples = TrainingDataset(cache, vectors, FrontEnd(n_frames=48), Augment(), seed=0)
        >>> examples[0, 3].target.tolist(), int(examples[0, 3].clip)
        ([0.0, 1.0], 3)
    """

    waveform: Tensor
    n_samples: Tensor
    target: Tensor
    changes: FeatureChanges
    second: SecondClip
    clip: Tensor


class TrainingDataset(Dataset[Example]):
    """Augmented examples by key, the same ones whenever and wherever they are asked for.

    A key is (epoch, clip) or, where clips come more than once in an epoch, (epoch, clip, take).

    Args:
        cache: the clips' sound.
        targets: (clips, classes) float32, their label vectors, or the same stored sparsely.
        front_end: settings of the model's input.
        augment: settings of the augmentation.
        seed: seed of the run.

    Examples:
        >>> from pathlib import Path
        >>> from audiomamba.data import open_manifest
        >>> manifest = open_manifest(Path("my-clips"))
        >>> cache = ClipCache(manifest.clips, sample_rate=16_000)
        >>> examples = TrainingDataset(
        ...     cache,
        ...     manifest.clips.label_vectors(manifest.labels),
        ...     FrontEnd(n_frames=48),
        ...     Augment(mixup=0.5),
        ...     seed=0,
        ... )
        >>> first = examples[0, 2]  # epoch 0, clip 2
        >>> first.waveform.shape, torch.equal(first.waveform, examples[0, 2].waveform)
        (torch.Size([7920]), True)
    """

    def __init__(
        self,
        cache: ClipCache,
        targets: np.ndarray | LabelVectors,
        front_end: FrontEnd,
        augment: Augment,
        seed: int,
    ) -> None:
        self.cache = cache
        self.targets = targets
        self.front_end = front_end
        self.augment = augment
        self.seed = seed

    def __len__(self) -> int:
        return len(self.cache)

    def __getitem__(self, key: tuple[int, ...]) -> Example:
        epoch, clip, *takes = key
        rng = clip_rng(self.seed, epoch, clip, *takes)
        waveform, target = self._sound(clip, rng)
        shape = (self.front_end.n_frames, self.front_end.n_mels)
        second, target = self._second(target, shape, rng)
        return Example(
            torch.from_numpy(fill_up(waveform, self.front_end.n_samples)),
            torch.tensor(len(waveform)),
            torch.from_numpy(target),
            draw_changes(self.augment, shape, rng),
            second,
            torch.tensor(clip),
        )

    def _sound(self, clip: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """The clip itself, a mixture, or a sound of no class; with its label vector."""
        if rng.random() < self.augment.negatives:
            return self._foreign(clip, rng), np.zeros_like(self.targets[clip])
        first = self._clip(clip, rng)
        if self.augment.mixup_of != "waveforms" or rng.random() >= self.augment.mixup:
            return first
        second = self._clip(int(rng.integers(len(self))), rng)
        share = rng.beta(self.augment.mixup_alpha, self.augment.mixup_alpha)
        return mix(first, second, share)

    def _second(
        self, target: np.ndarray, shape: tuple[int, int], rng: np.random.Generator
    ) -> tuple[SecondClip, np.ndarray]:
        """The clip whose features are mixed in, if any, and the label vector of the mixture."""
        augment, share, box = self.augment, 1.0, np.zeros(4, dtype=np.int64)
        n_samples = self.front_end.n_samples if augment.mixes_features else 0
        waveform, left = np.zeros(n_samples, dtype=np.float32), 1.0
        if _happens(rng, augment.cutmix):
            alpha = augment.cutmix_alpha
            box = draw_box(rng.beta(alpha, alpha), shape, rng)
            left = 1 - float((box[1] - box[0]) * (box[3] - box[2])) / (shape[0] * shape[1])
        elif augment.mixup_of == "features" and _happens(rng, augment.mixup):
            left = share = rng.beta(augment.mixup_alpha, augment.mixup_alpha)
        if left < 1:
            waveform, other = self._clip(int(rng.integers(len(self))), rng)
            target = np.float32(left) * target + np.float32(1 - left) * other
        second = SecondClip(
            torch.from_numpy(fill_up(waveform, n_samples)),
            torch.tensor(len(waveform)),
            torch.tensor(share, dtype=torch.float32),
            torch.from_numpy(box),
        )
        return second, target

    def _foreign(self, clip: int, rng: np.random.Generator) -> np.ndarray:
        """A sound that is none of the classes."""
        if rng.random() < 0.5:
            return mirror(self._clip(clip, rng)[0])
        return synthesize(self.front_end.n_samples, self.front_end.sample_rate, rng)

    def _clip(self, clip: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """One clip with its waveform changed; and its label vector."""
        changed = change_waveform(
            self.cache.waveform(clip),
            self.front_end.n_samples,
            self.augment,
            rng,
            sample_rate=self.front_end.sample_rate,
        )
        return changed, self.targets[clip].copy()


def _happens(rng: np.random.Generator, probability: float) -> bool:
    """Draw whether something happens; no random number is used up for what never does."""
    return probability > 0 and rng.random() < probability


def collate(examples: Sequence[Example]) -> Example:
    """Stack examples into a batch.

    Args:
        examples: what a TrainingDataset gave.

    Returns:
        The same fields with a leading batch dimension.

    Examples:
        >>> from pathlib import Path
        >>> from audiomamba.data import open_manifest
        >>> manifest = open_manifest(Path("my-clips"))
        >>> cache = ClipCache(manifest.clips, sample_rate=16_000)
        >>> vectors = manifest.clips.label_vectors(manifest.labels)
        >>> examples = TrainingDataset(cache, vectors, FrontEnd(n_frames=48), Augment(), seed=0)
        >>> batch = collate([examples[0, 0], examples[0, 3]])
        >>> batch.waveform.shape, batch.target.tolist()
        (torch.Size([2, 7920]), [[1.0, 0.0], [0.0, 1.0]])
    """
    batch: Example = default_collate(list(examples))
    return batch


def clip_features(clip: Clip, front_end: FrontEnd, *, pad: bool = True) -> Tensor:
    """Decode one clip and compute a model's input from it, without augmentation.

    Args:
        clip: the clip; what is longer than the model's input is left out.
        front_end: settings of the model's input.
        pad: whether a short clip is padded to n_frames; otherwise it is read as it is, as tagging
            does with models of any length.

    Returns:
        (n_frames, mels) float32; (frames, mels) of a short clip without padding.

    Raises:
        AudioError: the file cannot be read.
        DataError: the piece lies outside the file.

    Examples:
        >>> from pathlib import Path
        >>> clip = Clip(path=Path("my-clips/dog/1.wav"), labels=("dog",))  # half a second
        >>> clip_features(clip, FrontEnd(n_frames=100)).shape
        torch.Size([100, 128])
        >>> clip_features(clip, FrontEnd(n_frames=100), pad=False).shape
        torch.Size([48, 128])
    """
    samples = load_clip(clip, front_end.sample_rate)
    samples = F.pad(samples, (0, max(0, front_end.window_samples - len(samples))))
    if not pad:
        front_end = front_end.unpadded(len(samples))
    return audio.features(samples, front_end)


class EvaluationDataset(Dataset[tuple[Tensor, Tensor]]):
    """Clips as a model's input, without augmentation, and their label vectors.

    Features are kept in memory up to a budget, and computed each time beyond it.

    Args:
        clips: the clips.
        targets: (clips, classes) float32, their label vectors.
        front_end: settings of the model's input.
        budget_bytes: memory to use at most.
        pad: as for clip_features.

    Examples:
        >>> from pathlib import Path
        >>> from audiomamba.data import open_manifest
        >>> manifest = open_manifest(Path("my-clips"))
        >>> targets = manifest.clips.label_vectors(manifest.labels).dense()
        >>> features, target = EvaluationDataset(manifest.clips, targets, FrontEnd(n_frames=48))[3]
        >>> features.shape, target.tolist()
        (torch.Size([48, 128]), [0.0, 1.0])
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        targets: np.ndarray,
        front_end: FrontEnd,
        budget_bytes: int = CACHE_BYTES,
        *,
        pad: bool = True,
    ) -> None:
        self.clips = clips
        self.targets = targets
        self.front_end = front_end
        self.pad = pad
        self.n_kept = budget_bytes // (4 * front_end.n_frames * front_end.n_mels)
        self._kept: dict[int, Tensor] = {}

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        features = self._kept.get(index)
        if features is None:
            features = clip_features(self.clips[index], self.front_end, pad=self.pad)
            if len(self._kept) < self.n_kept:
                self._kept[index] = features
        return features, torch.from_numpy(self.targets[index])


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation of log-mel values.

    Examples:
        >>> Statistics(mean=-5.0, std=4.0).std
        4.0
    """

    mean: float
    std: float


def measure(cache: ClipCache, front_end: FrontEnd) -> Statistics:
    """Measure mean and standard deviation of the log-mel values of clips.

    Args:
        cache: the clips.
        front_end: settings of the log-mel values.

    Returns:
        Statistics over all frames and mel bins of all clips, before any padding.

    Raises:
        AudioError: a file cannot be read.
        DataError: all values are the same, so that there is nothing to learn from.

    Examples:
        >>> from pathlib import Path
        >>> from audiomamba.data import open_manifest
        >>> cache = ClipCache(open_manifest(Path("my-clips")).clips, sample_rate=16_000)
        >>> found = measure(cache, FrontEnd())
        >>> -20 < found.mean < 20, found.std > 0
        (True, True)
    """
    count, total, squares = 0, 0.0, 0.0
    for index in range(len(cache)):
        waveform = torch.from_numpy(cache.waveform(index))
        log_mel = audio.log_mel_spectrogram(waveform, front_end).double()
        count += log_mel.numel()
        total += float(log_mel.sum())
        squares += float(log_mel.square().sum())
    mean = total / count
    variance = squares / count - mean**2
    if not variance > 1e-9:
        raise DataError(f"all {len(cache)} training clips are silent; expected sound to learn from")
    return Statistics(mean, variance**0.5)
