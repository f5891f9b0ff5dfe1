"""Embeddings as features for scikit-learn and what follows its contract."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from audiomamba.errors import MissingDependencyError
from audiomamba.infer.recording import Audio
from audiomamba.infer.tagger import Tagger, load

try:
    from sklearn.base import BaseEstimator, TransformerMixin
    from sklearn.utils.validation import check_is_fitted
except ModuleNotFoundError as error:
    raise MissingDependencyError("scikit-learn", "train", "audiomamba.features") from error

__all__ = ["Embedder"]


class Embedder(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Turns recordings into a model's embeddings, as a step of a scikit-learn pipeline.

    Args:
        model: the name, folder or address of a model, as for audiomamba.load.
        sample_rate: of recordings that are given as samples, in Hz; None for the model's.
        device: where the model computes: "cpu", "cuda" or "cuda:N".

    Examples:
        >>> from sklearn.linear_model import LogisticRegression
        >>> from sklearn.pipeline import make_pipeline
        >>> clips = [f"my-clips/{kind}/{n}.wav" for kind in ("dog", "rain") for n in (1, 2)]
        >>> classifier = make_pipeline(Embedder(), LogisticRegression())
        >>> classifier.fit(clips, ["dog", "dog", "rain", "rain"]).predict(clips).shape
        (4,)
    """

    def __init__(
        self, model: str | Path = "general", sample_rate: int | None = None, device: str = "cpu"
    ) -> None:
        self.model = model
        self.sample_rate = sample_rate
        self.device = device

    def fit(self, X: Sequence[Any] | None = None, y: object = None) -> Self:  # noqa: N803, ARG002
        """Load the model; nothing is learned.

        Args:
            X: not looked at.
            y: not looked at.

        Returns:
            The same object.
        """
        self.tagger_: Tagger = load(self.model).to(self.device)
        return self

    def transform(self, X: Sequence[Any]) -> NDArray[np.float32]:  # noqa: N803
        """Embed recordings.

        Args:
            X: paths, bytes of files, (samples, sample_rate), or samples alone at sample_rate.

        Returns:
            (recordings, dim) float32.

        Raises:
            AudioError: a recording cannot be read.
            ConfigError: something is no recording.
        """
        check_is_fitted(self, "tagger_")
        return np.stack([self.tagger_.embed(self._recording(one)).numpy() for one in X])

    def get_feature_names_out(self, input_features: object = None) -> NDArray[np.object_]:  # noqa: ARG002
        """Name the columns of what transform gives.

        Args:
            input_features: not looked at.

        Returns:
            (dim,) names.
        """
        check_is_fitted(self, "tagger_")
        silence = np.zeros(self.tagger_.front_end.sample_rate, np.float32)
        n_channels = len(self.tagger_.embed((silence, self.tagger_.front_end.sample_rate)))
        return np.array([f"embedding{index}" for index in range(n_channels)], dtype=object)

    def _recording(self, one: Any) -> Audio:
        """A recording as the rest of the package takes it."""
        if hasattr(one, "dtype") and hasattr(one, "ndim"):
            return one, self.sample_rate or self.tagger_.front_end.sample_rate
        return one if isinstance(one, tuple | bytes | Path) else str(one)
