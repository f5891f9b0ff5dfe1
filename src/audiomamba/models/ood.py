"""How much a sound is like those that a model was trained on.

A classifier that was only shown its own kinds of sound is sure of others as well. What tells those
apart is where their embeddings lie: far from all classes, in directions in which the embeddings of
a class hardly vary.

Source: Lee, Lee, Lee, Shin, "A Simple Unified Framework for Detecting Out-of-Distribution Samples
and Adversarial Attacks" (2018), section 2.1.
"""

import torch
from torch import Tensor, nn

from audiomamba.errors import ConfigError

__all__ = ["Familiarity", "check_enough", "measure_familiarity"]

SHRINKAGE = 0.01  # share of the covariance that is replaced by one with the same spread everywhere
SOFTNESS = 0.5  # change of distance that changes the odds by a factor of e


class Familiarity(nn.Module):
    """Mahalanobis distance to the nearest class, as a factor from 0 to 1 for the scores.

    Args:
        n_classes: classes that training clips had.
        dim: channels of an embedding.
        limit: the distance at which the factor is one half; 1 is what the spread of the training
            clips' own embeddings gives on average.
    """

    means: Tensor
    whitening: Tensor

    def __init__(self, n_classes: int, dim: int, limit: float) -> None:
        super().__init__()
        self.limit = limit
        self.register_buffer("means", torch.zeros(n_classes, dim))
        self.register_buffer("whitening", torch.eye(dim))

    def distance(self, embeddings: Tensor) -> Tensor:
        """Measure how far embeddings lie from the classes.

        Args:
            embeddings: (batch, dim).

        Returns:
            (batch,) squared distance to the nearest class mean, per channel.
        """
        apart = (embeddings.unsqueeze(1) - self.means) @ self.whitening
        return apart.square().mean(dim=2).amin(dim=1)

    def forward(self, embeddings: Tensor) -> Tensor:
        """Judge embeddings.

        Args:
            embeddings: (batch, dim).

        Returns:
            (batch,) from 0, unlike anything in training, to 1.
        """
        return torch.sigmoid((self.limit - self.distance(embeddings)) / SOFTNESS)


def measure_familiarity(embeddings: Tensor, targets: Tensor, limit: float) -> Familiarity:
    """Find where the embeddings of the training clips lie.

    Args:
        embeddings: (clips, dim), more clips than channels.
        targets: (clips, classes), above 0 where a clip has a class.
        limit: as for Familiarity.

    Returns:
        The measure.

    Raises:
        ConfigError: there are too few clips for the number of channels.
    """
    dim = embeddings.shape[1]
    check_enough(len(embeddings), dim)
    embeddings = embeddings.double()
    groups = [embeddings[has] for has in (targets > 0).unbind(dim=1) if has.any()]
    means = torch.stack([group.mean(dim=0) for group in groups])
    apart = torch.cat([group - mean for group, mean in zip(groups, means, strict=True)])
    covariance = apart.T @ apart / len(apart)
    even = torch.eye(dim, dtype=torch.float64) * covariance.trace() / dim
    precision = torch.linalg.inv((1 - SHRINKAGE) * covariance + SHRINKAGE * even)
    found = Familiarity(len(means), dim, limit)
    found.means.copy_(means)
    found.whitening.copy_(torch.linalg.cholesky(precision))
    return found


def check_enough(n_clips: int, dim: int) -> None:
    """Refuse to measure familiarity on too few clips.

    Args:
        n_clips: training clips.
        dim: channels of an embedding.

    Raises:
        ConfigError: there are too few clips for the number of channels.
    """
    if n_clips <= dim:
        raise ConfigError(
            f"{n_clips} training clips are too few to know the spread of {dim} channels; "
            "set familiarity_limit to none"
        )
