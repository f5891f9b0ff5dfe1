"""Out-of-distribution detection: how much a sound is unlike those that a model was trained on.

A classifier that was only shown its own kinds of sound is sure of others as well. What tells those
apart is where their embeddings lie: far from the means of all classes, along directions in which
the embeddings of one class hardly vary.

Source: Lee, Lee, Lee, Shin, "A Simple Unified Framework for Detecting Out-of-Distribution Samples
and Adversarial Attacks" (2018), section 2.1.
"""

import torch
from torch import Tensor, nn

from audiomamba.errors import ConfigError

__all__ = ["OODDetector", "check_enough_clips", "fit_ood_detector"]

SHRINKAGE = 0.01  # share of the covariance that is replaced by one with the same spread everywhere
SOFTNESS = 0.5  # change of distance that changes the odds by a factor of e


class OODDetector(nn.Module):
    """Mahalanobis distance to the nearest class, as a factor from 0 to 1 for the scores.

    Args:
        n_classes: classes that training clips had.
        dim: channels of an embedding.
        limit: the distance at which the factor is one half; 1 is what the spread of the training
            clips' own embeddings gives on average.

    Examples:
        >>> detector = OODDetector(n_classes=1, dim=2, limit=1.0)  # at 0, with a spread of 1
        >>> detector.distance(torch.tensor([[1.0, 1.0], [3.0, 4.0]]))
        tensor([ 1.0000, 12.5000])
        >>> detector(torch.tensor([[1.0, 1.0]]))
        tensor([0.5000])
    """

    means: Tensor
    whitening: Tensor

    def __init__(self, n_classes: int, dim: int, limit: float) -> None:
        super().__init__()
        self.limit = limit
        self.register_buffer("means", torch.zeros(n_classes, dim))
        self.register_buffer("whitening", torch.eye(dim))

    def distance(self, embeddings: Tensor) -> Tensor:
        """Measure how far embeddings are from the classes.

        Args:
            embeddings: (batch, dim).

        Returns:
            (batch,) squared distance to the nearest class mean, per channel.
        """
        offsets = (embeddings.unsqueeze(1) - self.means) @ self.whitening
        return offsets.square().mean(dim=2).amin(dim=1)

    def forward(self, embeddings: Tensor) -> Tensor:
        """Rate embeddings by how likely they are of the training's kinds of sound.

        Args:
            embeddings: (batch, dim).

        Returns:
            (batch,) from 0, unlike anything in training, to 1.
        """
        return torch.sigmoid((self.limit - self.distance(embeddings)) / SOFTNESS)


def fit_ood_detector(embeddings: Tensor, targets: Tensor, limit: float) -> OODDetector:
    """Fit a detector to the embeddings of the training clips.

    Args:
        embeddings: (clips, dim), more clips than channels.
        targets: (clips, classes), above 0 where a clip has a class.
        limit: as for OODDetector.

    Returns:
        The detector.

    Raises:
        ConfigError: there are too few clips for the number of channels.

    Examples:
        >>> embeddings = torch.tensor([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
        >>> detector = fit_ood_detector(embeddings, torch.ones(4, 1), limit=2.0)
        >>> detector.means
        tensor([[0., 0.]])
        >>> detector.distance(embeddings)
        tensor([1.0000, 1.0000, 1.0000, 1.0000])
    """
    dim = embeddings.shape[1]
    check_enough_clips(len(embeddings), dim)
    embeddings = embeddings.double()
    groups = [embeddings[has] for has in (targets > 0).unbind(dim=1) if has.any()]
    means = torch.stack([group.mean(dim=0) for group in groups])
    offsets = torch.cat([group - mean for group, mean in zip(groups, means, strict=True)])
    covariance = offsets.T @ offsets / len(offsets)
    even = torch.eye(dim, dtype=torch.float64) * covariance.trace() / dim
    precision = torch.linalg.inv((1 - SHRINKAGE) * covariance + SHRINKAGE * even)
    detector = OODDetector(len(means), dim, limit)
    detector.means.copy_(means)
    detector.whitening.copy_(torch.linalg.cholesky(precision))
    return detector


def check_enough_clips(n_clips: int, dim: int) -> None:
    """Refuse to fit a detector to too few clips.

    Args:
        n_clips: training clips.
        dim: channels of an embedding.

    Raises:
        ConfigError: there are too few clips for the number of channels.

    Examples:
        >>> check_enough_clips(n_clips=10, dim=64)
        Traceback (most recent call last):
        audiomamba.errors.ConfigError: 10 training clips are too few to know the spread of 64 ...
    """
    if n_clips <= dim:
        raise ConfigError(
            f"{n_clips} training clips are too few to know the spread of {dim} channels; "
            "set ood_limit to none"
        )
