"""What is computed for every file of a plan, chosen once."""

from dataclasses import asdict, dataclass
from typing import Any, Self

from audiomamba.errors import ConfigError
from audiomamba.infer.embedding import DTYPES
from audiomamba.infer.events import EventRule
from audiomamba.infer.framing import Framing
from audiomamba.infer.reading import TagOptions
from audiomamba.infer.sound_model import SoundModel

__all__ = ["Computation"]

DEFAULT_THRESHOLD = 0.3  # of events, where a model has none of its own


@dataclass(frozen=True, kw_only=True)
class Computation:
    """What is computed for every file; a file is decoded once for all of it.

    Args:
        tags: whether tags are computed.
        timeline: whether events are computed: what is heard from when to when.
        embeddings: whether an embedding is computed.
        top: keep at most this many tags of a file; None for all.
        threshold: keep only tags that score at least this.
        window_s: length of a window in seconds, for tags and embeddings; None for the model's.
        hop_s: seconds from one window's start to the next's; None for a window.
        step_s: seconds between the scores that events are found in.
        event_threshold: the score at which an event begins; None for the model's own.
        dtype: of embeddings, "float32" or "float16".
        labels: the labels to show; None for those that the model vouches for.
        all_labels: whether also the others are shown.

    Raises:
        ConfigError: nothing is to be computed, or a value is out of its range.

    Examples:
        >>> Computation(tags=True, embeddings=True).names
        ['tags', 'embeddings']
        >>> Computation(tags=False)
        Traceback (most recent call last):
            ...
        audiomamba.errors.ConfigError: nothing is to be computed; expected tags, ...
    """

    tags: bool = True
    timeline: bool = False
    embeddings: bool = False
    top: int | None = 3
    threshold: float = 0.0
    window_s: float | None = None
    hop_s: float | None = None
    step_s: float = 0.1
    event_threshold: float | None = None
    dtype: str = "float32"
    labels: tuple[str, ...] | None = None
    all_labels: bool = False

    def __post_init__(self) -> None:
        if not self.names:
            raise ConfigError(
                "nothing is to be computed; expected tags, a timeline or embeddings, or several"
            )
        if self.dtype not in DTYPES:
            raise ConfigError(f"embeddings as {self.dtype!r}; expected {' or '.join(DTYPES)}")
        if self.event_threshold is not None:
            EventRule(threshold=self.event_threshold)
        _ = self.reading, self.framing  # which are checked in being made

    @property
    def names(self) -> list[str]:
        """What is computed, by name."""
        return [name for name in ("tags", "timeline", "embeddings") if getattr(self, name)]

    @property
    def reading(self) -> TagOptions:
        """How files are read for tags and embeddings."""
        return TagOptions(
            top=self.top, threshold=self.threshold, window_s=self.window_s, hop_s=self.hop_s
        )

    @property
    def framing(self) -> Framing:
        """How files are read for events."""
        return Framing(step_s=self.step_s)

    def rule(self, sound_model: SoundModel) -> EventRule:
        """Say how scores become events.

        Args:
            sound_model: the model.

        Returns:
            The rule, with the model's own thresholds where no other was chosen.
        """
        if self.event_threshold is not None:
            return EventRule(threshold=self.event_threshold)
        return EventRule(threshold=sound_model.thresholds or DEFAULT_THRESHOLD)

    def to_dict(self) -> dict[str, Any]:
        """Return all fields, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Make it from what to_dict gave, also after it was JSON."""
        labels = values.get("labels")
        return cls(**{**values, "labels": None if labels is None else tuple(labels)})
