"""How unlabelled recordings are mixed into examples that a teacher labels."""

from dataclasses import dataclass
from typing import Annotated

from audiomamba.config import Fraction, Positive, Range, check
from audiomamba.errors import ConfigError

__all__ = ["Degradation", "Mixtures"]

Decibels = Annotated[float, Range(-100, 100)]


@dataclass(frozen=True, kw_only=True)
class Degradation:
    """What is done to the sound that the student hears, and not to the teacher's.

    So the student learns to hear through it what the teacher hears without it.

    Args:
        gain: share of examples that are made louder or softer.
        gain_db: lowest and highest gain.
        tilt: share of examples whose spectrum is tilted and bent.
        tilt_db: the most that a part of the spectrum is raised or lowered by.
        band: share of examples that keep the low frequencies only.
        band_hz: where these end; one of them is drawn.
        clipped: share of examples that are driven over full scale.
        clipped_db: by how much, at least and at most.

    Raises:
        ConfigError: a setting is out of its range.

    Examples:
        >>> Degradation(band=0.0).gain_db
        (-35.0, 6.0)
    """

    gain: Fraction = 0.3
    gain_db: tuple[Decibels, Decibels] = (-35.0, 6.0)
    tilt: Fraction = 0.2
    tilt_db: float = 9.0
    band: Fraction = 0.3
    band_hz: tuple[float, ...] = (3400.0, 3900.0, 5300.0, 7600.0, 10500.0)
    clipped: Fraction = 0.06
    clipped_db: tuple[float, float] = (3.0, 20.0)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class Mixtures:
    """Which windows of recordings are drawn, and how they are mixed.

    A label is drawn first, then a window in which the teacher hears it; so rare sounds are not
    drowned by frequent ones.

    Args:
        windows: the teacher hears at most so many windows of each recording.
        by_label: share of windows that are drawn by label; the rest is drawn evenly.
        heard_from: a label is in a window from this score of the teacher on.
        label_cap: labels are drawn by the root of their number of windows, but of no more than
            this.
        common: labels so frequent that windows with them are drawn apart;
            None for none.
        common_share: share of windows for each of these.
        lengths_s: lengths of examples.
        length_weights: how often each is drawn, by weight.
        short_s: below this an example is short: the teacher hears it again and again for this long.
        count_weights: how often one, two, three ... windows are mixed, by weight.
        apart_db: a further window is at most so much louder or softer than the first.
        speed: lowest and highest speed at which half of the windows are played.
        noise: share of examples with noise behind them.
        degradation: what is done to the student's sound only.

    Raises:
        ConfigError: a setting is out of its range, or two do not go together.

    Examples:
        >>> Mixtures(lengths_s=(1.0, 5.0), length_weights=(1.0, 2.0)).short_s
        5.0
    """

    windows: int = 6
    by_label: Fraction = 0.6
    heard_from: Fraction = 0.2
    label_cap: int = 12
    common: tuple[str, ...] | None = ("Music", "Speech")
    common_share: Fraction = 0.05
    lengths_s: tuple[Positive, ...] = (10.0, 5.0, 3.0, 2.0, 1.5, 1.0, 0.75, 0.5, 0.3, 0.2)
    length_weights: tuple[float, ...] = (8.0, 6.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
    short_s: Positive = 5.0
    count_weights: tuple[float, ...] = (5.0, 3.5, 1.0)
    apart_db: float = 8.0
    speed: tuple[Positive, Positive] = (0.85, 1.18)
    noise: Fraction = 0.25
    degradation: Degradation = Degradation()

    def __post_init__(self) -> None:
        check(self)
        if len(self.lengths_s) != len(self.length_weights):
            raise ConfigError(
                f"there are {len(self.lengths_s)} lengths_s and {len(self.length_weights)} "
                "length_weights; expected one weight for each"
            )
        for name in ("length_weights", "count_weights"):
            if not any(getattr(self, name)):
                raise ConfigError(f"{name} are all 0; expected at least one above")
        if self.by_label + self.common_share * len(self.common or ()) > 1:
            raise ConfigError(
                f"by_label {self.by_label} and {len(self.common or ())} common labels of "
                f"{self.common_share} are more than 1; expected at most 1 together"
            )
