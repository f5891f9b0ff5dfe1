"""Examples without labels: windows of recordings, drawn by what a teacher hears in them, mixed."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from audiomamba.recipes.mixtures import Mixtures
from audiomamba.train.distillation.pool import Pool, Window

__all__ = ["Mixed", "Mixer"]

LEVEL, MOST_GAIN = 0.08, 30.0  # root mean square of a window, and the most it is amplified by
PEAK_DB = (-14.0, 0.0)
NOISE_DB = (-45.0, -15.0)
GAP_S = (0.05, 1.2)  # between repetitions of a short recording
CHANGED = 0.5  # of the windows are played faster or slower
BEFORE = 0.2  # a piece begins at most so much of its length before the window


class Mixed(NamedTuple):
    """A mixture.

    Args:
        sound: (samples,) float32.
        names: names of the recordings in it.
    """

    sound: np.ndarray
    names: tuple[str, ...]


class Mixer:
    """Draws windows from a pool and mixes them.

    Args:
        pool: the recordings.
        settings: how.
        labels: the teacher's labels, in the order of the pool's scores.
        sample_rate: the pool's, in Hz.
    """

    def __init__(
        self, pool: Pool, settings: Mixtures, labels: Sequence[str], sample_rate: int
    ) -> None:
        self.pool, self.settings, self.sample_rate = pool, settings, sample_rate
        heard = np.greater_equal(pool.scores, settings.heard_from)
        places = [labels.index(label) for label in settings.common or () if label in labels]
        self._common = [
            found for found in (np.flatnonzero(heard[:, at]) for at in places) if len(found)
        ]
        rest = np.logical_not(heard[:, places].any(axis=1))
        self._rest = np.flatnonzero(rest) if rest.any() else np.arange(len(heard))
        own = heard & rest[:, None]
        self._labels = np.flatnonzero(own.any(axis=0))
        self._of_label = [np.flatnonzero(own[:, label]) for label in self._labels]
        counts = np.minimum([len(found) for found in self._of_label], settings.label_cap)
        self._weights = np.sqrt(counts) / max(1.0, float(np.sqrt(counts).sum()))

    def mix(self, draw: np.random.Generator) -> Mixed:
        """Make a mixture.

        Args:
            draw: decides everything.

        Returns:
            It.
        """
        settings = self.settings
        length_s = settings.lengths_s[_choose(draw, settings.length_weights)]
        n_samples, n_windows = (
            round(length_s * self.sample_rate),
            1 + _choose(draw, settings.count_weights),
        )
        sound, names = np.zeros(n_samples, np.float32), []
        for number in range(n_windows):
            window = self._window(draw)
            piece = self._piece(draw, window, n_samples)
            level = 0.0 if number == 0 else draw.uniform(-settings.apart_db, settings.apart_db)
            gain = LEVEL / (np.sqrt(np.square(piece).mean()) + 1e-5) * 10 ** (level / 20)
            sound += piece * np.float32(min(gain, MOST_GAIN))
            names.append(self.pool.names[window.recording])
        if draw.random() < settings.noise:
            sound += _noise(draw, n_samples)
        peak = 10 ** (draw.uniform(*PEAK_DB) / 20) / (np.abs(sound).max() + 1e-9)
        return Mixed(sound * np.float32(peak), tuple(names))

    def _window(self, draw: np.random.Generator) -> Window:
        """A window: with a common label, by label, or any other."""
        chance, among, weights = draw.random(), self._rest, None
        from_label = self.settings.common_share * len(self._common)
        if chance < from_label:
            among = self._common[int(chance / self.settings.common_share)]
        elif chance < from_label + self.settings.by_label and len(self._labels):
            number = draw.choice(len(self._labels), p=self._weights)
            among = self._of_label[number]
            scores = self.pool.scores[among, self._labels[number]]
            weights = scores / scores.sum()
        return self.pool.windows[int(draw.choice(among, p=weights))]

    def _piece(self, draw: np.random.Generator, window: Window, n_samples: int) -> np.ndarray:
        """So many samples of a recording, near a window, at some speed; a short one is repeated."""
        change = float(np.exp(draw.uniform(*np.log(self.settings.speed))))
        speed = change if draw.random() < CHANGED else 1.0
        n_read, n_there = int(n_samples * speed) + 2, self.pool.length(window.recording)
        start = 0
        if n_there > n_read:
            low = max(0, min(window.start - int(BEFORE * n_read), n_there - n_read))
            high = max(low, min(window.start + int(BEFORE * n_read), n_there - n_read))
            start = int(draw.integers(low, high + 1))
        piece = _resampled(self.pool.read(window.recording, start, n_read), speed)
        if len(piece) >= n_samples:
            return piece[:n_samples]
        return _placed(draw, piece, n_samples, self.sample_rate)


def _choose(draw: np.random.Generator, weights: Sequence[float]) -> int:
    """A place in a row of weights."""
    return int(draw.choice(len(weights), p=np.array(weights) / sum(weights)))


def _resampled(piece: np.ndarray, speed: float) -> np.ndarray:
    """A piece played faster or slower, with its pitch."""
    if speed == 1:
        return piece
    at = np.arange(0, len(piece) - 1, speed)
    first = at.astype(np.int64)
    share = (at - first).astype(np.float32)
    played: np.ndarray = piece[first] * (1 - share) + piece[first + 1] * share
    return played


def _placed(
    draw: np.random.Generator, piece: np.ndarray, n_samples: int, sample_rate: int
) -> np.ndarray:
    """A short piece somewhere in silence, once or, half of the time, again and again."""
    placed = np.zeros(n_samples, np.float32)
    room = n_samples - len(piece)
    repeats = draw.random() < 0.5
    at = int(draw.integers(0, (min(room, n_samples // 4) if repeats else room) + 1))
    while at < n_samples and len(piece):
        n_left = min(len(piece), n_samples - at)
        placed[at : at + n_left] += piece[:n_left]
        if not repeats:
            break
        at += len(piece) + int(draw.uniform(*GAP_S) * sample_rate)
    return placed


def _noise(draw: np.random.Generator, n_samples: int) -> np.ndarray:
    """White noise, or noise with more of low frequencies, softer than a window."""
    noise = draw.standard_normal(n_samples).astype(np.float32)
    if draw.random() < 0.6:
        walk = np.cumsum(noise)
        noise = 0.5 * noise + 0.02 * (walk - np.linspace(walk[0], walk[-1], n_samples))
    noise /= np.sqrt(np.square(noise).mean()) + 1e-9
    scaled: np.ndarray = noise * np.float32(LEVEL * 10 ** (draw.uniform(*NOISE_DB) / 20))
    return scaled
