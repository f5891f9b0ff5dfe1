"""The settings that turn a waveform into a model's input; they are saved with every model."""

from dataclasses import dataclass, replace
from typing import Literal

from audiomamba.config import Positive, Real, check
from audiomamba.errors import ConfigError

__all__ = ["FrontEnd", "Kind"]

Kind = Literal["kaldi", "decibel", "epic_sounds", "efficientat"]


@dataclass(frozen=True, kw_only=True)
class FrontEnd:
    """How a model's input is made from sound; the defaults are those of AuM and AST on AudioSet.

    Args:
        kind: "kaldi" is the filter bank of AuM and AST; "decibel" is the log-mel spectrogram of
            PANNs and HTS-AT; "epic_sounds" is that of the EPIC-SOUNDS models; "efficientat" is that
            of EfficientAT. The last three put a frame's middle, not its start, at each step, and
            look beyond both ends of the sound.
        sample_rate: rate of the waveform in Hz.
        n_mels: number of mel bands.
        frame_length_ms: length of the analysis window.
        frame_shift_ms: step from one frame to the next.
        low_hz: lower edge of the lowest band.
        high_hz: upper edge of the highest band; None for half the sample rate.
        n_frames: frames in the model's input; shorter clips are padded, longer ones cut.
        mean: mean of the data set's log-mel values; None for no normalization.
        std: standard deviation of the same values; None for no normalization.
        pad_log_mel: kind "kaldi": log-mel value of the frames that pad a short clip, before
            normalization. Kinds "decibel" and "efficientat" pad with silence instead, "epic_sounds"
            with the last frame.

    Raises:
        ConfigError: a setting is out of its range.

    Examples:
        >>> front_end = FrontEnd(n_frames=98)
        >>> front_end.clip_s, front_end.frames_in(32_000)
        (0.995, 198)
    """

    kind: Kind = "kaldi"
    sample_rate: int = 16_000
    n_mels: int = 128
    frame_length_ms: float = 25.0
    frame_shift_ms: float = 10.0
    low_hz: float = 20.0
    high_hz: float | None = None
    n_frames: int = 1024
    mean: Real | None = -4.2677393
    std: Positive | None = 4.5689974
    pad_log_mel: Real = 0.0

    def __post_init__(self) -> None:
        check(self)
        if self.window_samples < 3 or self.shift_samples < 1:
            raise ConfigError(
                f"frames of {self.frame_length_ms} ms every {self.frame_shift_ms} ms are "
                f"{self.window_samples} and {self.shift_samples} samples at {self.sample_rate} Hz; "
                "expected at least 3 and 1"
            )
        if not 0 <= self.low_hz < self.highest_hz <= self.sample_rate / 2:
            raise ConfigError(
                f"mel bands go from {self.low_hz} to {self.highest_hz} Hz; "
                f"expected 0 <= low_hz < high_hz <= {self.sample_rate / 2}"
            )
        if (self.mean is None) != (self.std is None):
            raise ConfigError(f"mean is {self.mean} and std is {self.std}; set both or neither")

    @property
    def highest_hz(self) -> float:
        """Upper edge of the highest band, given or not."""
        return self.sample_rate / 2 if self.high_hz is None else self.high_hz

    @property
    def window_samples(self) -> int:
        """Samples in the analysis window."""
        return self._samples(self.frame_length_ms)

    @property
    def shift_samples(self) -> int:
        """Samples from one frame to the next."""
        return self._samples(self.frame_shift_ms)

    def _samples(self, time_ms: float) -> int:
        samples = self.sample_rate * time_ms * 0.001
        return int(samples) if self.kind == "kaldi" else round(samples)  # Kaldi rounds down

    @property
    def n_samples(self) -> int:
        """The fewest samples that give n_frames frames; at least 1.

        For kind "efficientat" the most: there a frame belongs to each step that has begun, and a
        clip of n_frames is made of whole steps.
        """
        if self.kind == "efficientat":
            return self.n_frames * self.shift_samples
        ends = self.window_samples if self.kind == "kaldi" else 0
        return max(1, (self.n_frames - 1) * self.shift_samples + ends)

    @property
    def clip_s(self) -> float:
        """Seconds of sound that n_frames cover."""
        return self.n_samples / self.sample_rate

    def unpadded(self, n_samples: int) -> "FrontEnd":
        """Change the settings for a clip that is not padded.

        Args:
            n_samples: samples in it, at least window_samples.

        Returns:
            The same with as many frames as the clip has, n_frames at most.
        """
        return replace(self, n_frames=min(self.frames_in(n_samples), self.n_frames))

    def frames_in(self, n_samples: int) -> int:
        """Count the frames that a waveform gives.

        Args:
            n_samples: samples in it, at least one.

        Returns:
            Frames, without any padding to n_frames; at least one.
        """
        # Kaldi's frames end within the sound; pre-emphasis of the whole takes one sample away.
        ends = {"kaldi": self.window_samples, "efficientat": 1}.get(self.kind, 0)
        return 1 + max(0, n_samples - ends) // self.shift_samples
