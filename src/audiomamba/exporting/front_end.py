"""The front end in ordinary operators: what `audio.features` computes, as a module to export.

A frame is folded about its middle, which halves the work of the Fourier transform: its even part
has cosines only, its odd part sines only. Where a frame's time begins changes nothing but phases,
of which the power knows nothing. Frequencies that no mel band hears are left out.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audiomamba.audio import FrontEnd, normalize
from audiomamba.audio.fbank import PRE_EMPHASIS, SMALLEST_POWER, kaldi_filters
from audiomamba.audio.log_mel import (
    ADDED_MAGNITUDE,
    ADDED_POWER,
    mel_filters,
)
from audiomamba.audio.log_mel import (
    SMALLEST_POWER as SMALLEST_DECIBEL_POWER,
)

__all__ = ["FrontEndGraph"]


class FrontEndGraph(nn.Module):
    """Turns waveforms into a model's input.

    Args:
        front_end: the settings.
        any_length: whether sound is read as it is; else it is padded to front_end.n_frames, and
            a longer one is refused.
    """

    window: Tensor
    even: Tensor
    odd: Tensor
    filters: Tensor

    def __init__(self, front_end: FrontEnd, *, any_length: bool) -> None:
        super().__init__()
        self.front_end, self.any_length = front_end, any_length
        n_fft, filters = _filters(front_end)
        heard = filters.any(dim=1).nonzero().flatten()
        bins = torch.arange(int(heard[0]), int(heard[-1]) + 1, dtype=torch.float64)
        window = _window(front_end)
        n_half = len(window) // 2
        from_middle = n_half - 0.5 - torch.arange(n_half, dtype=torch.float64)
        angle = 2 * math.pi / n_fft * from_middle[:, None] * bins
        tables = {
            "window": window,
            "even": angle.cos(),
            "odd": angle.sin(),
            "filters": filters[int(heard[0]) : int(heard[-1]) + 1],
        }
        for name, table in tables.items():
            self.register_buffer(name, table.float())

    def forward(self, waveforms: Tensor) -> Tensor:
        """Compute features.

        Args:
            waveforms: (batch, samples) at the front end's rate; of less than a frame's window, as a
                tagger does, zeros are put after it.

        Returns:
            (batch, frames, mels), normalized.
        """
        make = {
            "kaldi": self._kaldi,
            "decibel": self._decibel,
            "epic_sounds": self._epic_sounds,
            "efficientat": self._efficientat,
        }
        n_samples = torch.sym_max(waveforms.shape[1], self.front_end.window_samples)
        padded = F.pad(waveforms, (0, self.front_end.window_samples))[:, :n_samples]
        return normalize(make[self.front_end.kind](padded), self.front_end)

    def _kaldi(self, waveforms: Tensor) -> Tensor:
        front_end = self.front_end
        n_window, shift = front_end.window_samples, front_end.shift_samples
        waveforms = waveforms - waveforms.mean(dim=1, keepdim=True)
        n_frames = 1 + (waveforms.shape[1] - n_window) // shift
        # The first sample's difference is never heard: the window is 0 there.
        means = F.avg_pool1d(waveforms[:, None], n_window, shift).mT
        mel = self._power(_emphasized(F.pad(waveforms, (1, 0))), n_frames, means) @ self.filters
        log_mel = mel.clamp(min=SMALLEST_POWER).log()
        if self.any_length:
            return log_mel
        return _filled(log_mel, front_end.n_frames, front_end.pad_log_mel)

    def _decibel(self, waveforms: Tensor) -> Tensor:
        shift = self.front_end.shift_samples
        if self.any_length:
            n_frames = 1 + waveforms.shape[1] // shift
            waveforms = waveforms[:, : torch.sym_max(1, (n_frames - 1) * shift)]
        else:
            n_frames = self.front_end.n_frames
            waveforms = _filled(waveforms, self.front_end.n_samples, 0.0)
        reflected = self._reflected(self._reflectable(waveforms, 1))
        mel = self._power(reflected, n_frames) @ self.filters
        return 10.0 * mel.clamp(min=SMALLEST_DECIBEL_POWER).log10()

    def _epic_sounds(self, waveforms: Tensor) -> Tensor:
        n_frames = 1 + waveforms.shape[1] // self.front_end.shift_samples
        padded = F.pad(waveforms, (self._before, self._after))
        log_mel = (self._power(padded, n_frames).sqrt() @ self.filters + ADDED_MAGNITUDE).log()
        if self.any_length:
            return log_mel
        missing = self.front_end.n_frames - n_frames
        return torch.cat([log_mel, log_mel[:, -1:].expand(-1, missing, -1)], dim=1)

    def _efficientat(self, waveforms: Tensor) -> Tensor:
        shift = self.front_end.shift_samples
        if self.any_length:
            n_frames = (waveforms.shape[1] + shift - 1) // shift
            waveforms = F.pad(waveforms, (0, n_frames * shift - waveforms.shape[1]))
        else:
            n_frames = self.front_end.n_frames
            waveforms = _filled(waveforms, self.front_end.n_samples, 0.0)
        reflected = self._reflected(_emphasized(self._reflectable(waveforms, 2)))
        return (self._power(reflected, n_frames) @ self.filters + ADDED_POWER).log()

    @property
    def _before(self) -> int:
        """Samples before a frame's step that it begins at, where frames are centered."""
        return self.front_end.window_samples // 2

    @property
    def _after(self) -> int:
        """Samples after the step that it ends at."""
        return self.front_end.window_samples - self._before

    def _reflectable(self, waveforms: Tensor, more: int) -> Tensor:
        """Sound with zeros after it, if it is too short for its ends to be reflected."""
        n_samples = torch.sym_max(waveforms.shape[1], self._after + more)
        return F.pad(waveforms, (0, self._after + more))[:, :n_samples]

    def _reflected(self, sound: Tensor) -> Tensor:
        """Sound with its mirror image before and after it."""
        n_samples = sound.shape[1]
        before = sound[:, 1 : self._before + 1].flip(1)
        after = sound[:, n_samples - 1 - self._after : n_samples - 1].flip(1)
        return torch.cat([before, sound, after], dim=1)

    def _power(self, sound: Tensor, n_frames: int, means: Tensor | None = None) -> Tensor:
        """Power at each frequency (batch, frames, bins) of sound without the frames' means."""
        n_window, n_half, shift = len(self.window), len(self.even), self.front_end.shift_samples
        needed = (n_frames - 1) * shift + n_window
        sound = F.pad(sound, (0, 1))[:, :needed]  # a window of odd length was made even
        # Half of each frame comes from the sound, the other from its mirror image.
        block = math.gcd(shift, n_half)
        index = torch.arange(n_frames)[:, None] * (shift // block) + torch.arange(n_half // block)
        halves = []
        for read, order in ((sound, index), (sound.flip(1), index.flip(0))):
            blocks = read.unflatten(1, (-1, block)).index_select(1, order.flatten())
            half = blocks.reshape(sound.shape[0], -1, n_half)
            halves.append(half if means is None else half - (1 - PRE_EMPHASIS) * means)
        first, second = halves[0] * self.window[:n_half], halves[1] * self.window[n_half:].flip(0)
        real, imaginary = (first + second) @ self.even, (first - second) @ self.odd
        power: Tensor = real.square() + imaginary.square()
        return power


def _emphasized(sound: Tensor) -> Tensor:
    return sound[:, 1:] - PRE_EMPHASIS * sound[:, :-1]


def _filled(x: Tensor, size: int, value: float) -> Tensor:
    """Pad axis 1 at its end; a longer x is cut if its size is fixed, else the graph fails on it."""
    if isinstance(x.shape[1], int):
        x = x[:, :size]
    rest = x.new_full((x.shape[0], size - x.shape[1], *x.shape[2:]), value)
    return torch.cat([x, rest], dim=1)


def _filters(front_end: FrontEnd) -> tuple[int, Tensor]:
    """The samples of the Fourier transform, and the mel filters (bins, mels)."""
    n_window = front_end.window_samples
    if front_end.kind != "kaldi":
        filters = mel_filters(front_end, torch.device("cpu"), torch.float64)
        n_fft = n_window if front_end.kind == "decibel" else 2 * (len(filters) - 1)
        return n_fft, filters
    n_fft, range_hz = 1 << (n_window - 1).bit_length(), (front_end.low_hz, front_end.highest_hz)
    rate = front_end.sample_rate
    return n_fft, kaldi_filters(front_end.n_mels, range_hz, fft_samples=n_fft, sample_rate=rate)


def _window(front_end: FrontEnd) -> Tensor:
    """The window, of even length."""
    periodic = front_end.kind in ("decibel", "epic_sounds")
    n_window = front_end.window_samples
    window = torch.hann_window(n_window, periodic=periodic, dtype=torch.float64)
    return F.pad(window, (0, n_window % 2))
