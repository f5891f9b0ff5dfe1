"""The settings that turn a waveform into a model's input; they are saved with every model."""

from dataclasses import dataclass

from audiomamba.errors import ConfigError

__all__ = ["FrontEnd"]


@dataclass(frozen=True, kw_only=True)
class FrontEnd:
    """How a model's input is made from sound; the defaults are those of AuM and AST on AudioSet.

    Args:
        sample_rate: rate of the waveform in Hz.
        n_mels: number of mel bands.
        frame_length_ms: length of the analysis window.
        frame_shift_ms: step from one frame to the next.
        low_hz: lower edge of the lowest band.
        high_hz: upper edge of the highest band; None for half the sample rate.
        n_frames: frames in the model's input; shorter clips are padded, longer ones cut.
        mean: mean of the data set's log-mel values; None for no normalization.
        std: standard deviation of the same values; None for no normalization.
        pad_log_mel: log-mel value of the frames that pad a short clip, before normalization.

    Raises:
        ConfigError: a setting is out of its range.
    """

    sample_rate: int = 16_000
    n_mels: int = 128
    frame_length_ms: float = 25.0
    frame_shift_ms: float = 10.0
    low_hz: float = 20.0
    high_hz: float | None = None
    n_frames: int = 1024
    mean: float | None = -4.2677393
    std: float | None = 4.5689974
    pad_log_mel: float = 0.0

    def __post_init__(self) -> None:
        for name in ("sample_rate", "n_mels", "n_frames"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected at least 1")
        if self.window_samples < 3 or self.shift_samples < 1:
            raise ConfigError(
                f"frames of {self.frame_length_ms} ms every {self.frame_shift_ms} ms are "
                f"{self.window_samples} and {self.shift_samples} samples at {self.sample_rate} Hz; "
                "expected at least 3 and 1"
            )
        nyquist = self.sample_rate / 2
        high_hz = nyquist if self.high_hz is None else self.high_hz
        if not 0 <= self.low_hz < high_hz <= nyquist:
            raise ConfigError(
                f"mel bands go from {self.low_hz} to {high_hz} Hz; "
                f"expected 0 <= low_hz < high_hz <= {nyquist}"
            )
        if (self.mean is None) != (self.std is None):
            raise ConfigError(f"mean is {self.mean} and std is {self.std}; set both or neither")
        if self.std is not None and not self.std > 0:
            raise ConfigError(f"std is {self.std}; expected more than 0")

    @property
    def window_samples(self) -> int:
        """Samples in the analysis window."""
        return int(self.sample_rate * self.frame_length_ms * 0.001)

    @property
    def shift_samples(self) -> int:
        """Samples from one frame to the next."""
        return int(self.sample_rate * self.frame_shift_ms * 0.001)

    @property
    def n_samples(self) -> int:
        """Samples that give exactly n_frames frames."""
        return (self.n_frames - 1) * self.shift_samples + self.window_samples

    @property
    def clip_s(self) -> float:
        """Seconds of sound that n_frames cover."""
        return self.n_samples / self.sample_rate
