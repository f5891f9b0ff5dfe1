"""What is exported: a model, its front end, and what turns logits into scores, as one module."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audiomamba.checkpoints import Checkpoint
from audiomamba.exporting.front_end import FrontEndGraph
from audiomamba.models import AudioModel

__all__ = ["Graph"]


class Graph(nn.Module):
    """Scores sound, or images, from end to end.

    Args:
        checkpoint: the model and what belongs to it.
        front_end: makes features of waveforms; None if features, or images, are what comes in.
    """

    def __init__(self, checkpoint: Checkpoint, front_end: FrontEndGraph | None) -> None:
        super().__init__()
        self.model = checkpoint.model.eval().requires_grad_(False)
        self.detector = checkpoint.ood_detector
        self.front_end = front_end
        self.softmax = checkpoint.scores == "softmax"
        self.reads_sound = checkpoint.front_end is not None

    @property
    def scores_frames(self) -> bool:
        """Whether there are scores of single steps."""
        return self.reads_sound and self.model.pools_frames

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Score a batch.

        Args:
            x: (batch, samples) at the front end's rate; without a front end (batch, frames, mels),
                or images (batch, 3, height, width).

        Returns:
            By name: `scores` (batch, classes); `embedding` (batch, dim); with a detector
            `in_distribution` (batch,), by which the scores have been multiplied; and of models that
            score steps `frame_scores` (batch, steps, classes) and `frame_embeddings` (batch, steps,
            dim).
        """
        features = x if self.front_end is None else self.front_end(x)
        embedding = self.model.embed(features)
        outputs = {"embedding": embedding}
        plain = type(self.model).forward is AudioModel.forward
        scores = self._scores(self.model.head(embedding) if plain else self.model(features))
        if self.detector is not None:
            factor = self.detector(embedding)
            outputs["in_distribution"] = factor
            scores = scores * factor[:, None]
        outputs = {"scores": scores, **outputs}
        return outputs | self._frames(features) if self.scores_frames else outputs

    def _scores(self, logits: Tensor) -> Tensor:
        return logits.softmax(-1) if self.softmax else logits.sigmoid()

    def _frames(self, features: Tensor) -> dict[str, Tensor]:
        """As `infer.frame_scores` scores steps."""
        embeddings = self.model.frame_embeddings(features)
        plain = type(self.model).frame_logits is AudioModel.frame_logits
        logits = self.model.head(embeddings) if plain else self.model.frame_logits(features)
        width = self.model.frame_steps(self.model.config.n_frames).count
        around = self._scores(mean_around(logits, width))
        if self.detector is not None:
            near = mean_around(embeddings, width)
            around = around * self.detector(near.flatten(0, 1)).view(*near.shape[:2], 1)
        scores = (self._scores(logits) * around).sqrt()
        return {"frame_scores": scores, "frame_embeddings": embeddings}


def mean_around(values: Tensor, width: int) -> Tensor:
    """As `infer.frame_scores.mean_around`, (batch, steps, channels), without a branch."""
    steps = torch.arange(values.shape[1])
    last = steps[-1:]
    reach = torch.where(last < width, last, width // 2)
    first, end = (steps - reach).clamp(min=0), torch.minimum(steps + reach, last) + 1
    sums = F.pad(values.double().cumsum(dim=1), (0, 0, 1, 0))
    total = sums.index_select(1, end) - sums.index_select(1, first)
    return (total / (end - first)[:, None]).to(values.dtype)
