"""Whether a task's sequences are long: the test that MambaOut's paper puts to Mamba's use.

A transformer block with an MLP ratio of 4 takes 24 D^2 L + 4 D L^2 operations for L tokens of D
channels. Beyond L = 6 D the quadratic part, which a scan would save, is the larger one.
"""

from dataclasses import dataclass

__all__ = ["TASKS", "SequenceLength", "sequence_lengths"]

PATCH = 16
DIMS = {"tiny": 192, "small": 384, "base": 768}
# Height and width of what a model reads; the first three are in the paper's section 3.2.
TASKS = {
    "ImageNet, classes": (224, 224),
    "ADE20K, classes of pixels": (512, 2048),
    "COCO, objects": (800, 1280),
    "ADE20K, a window": (512, 512),
    "COCO, padded for Vim": (1024, 1024),
    "a sound of 10 s, 128 bands": (128, 1024),
    "a sound of 60 s, 128 bands": (128, 6000),
}


@dataclass(frozen=True)
class SequenceLength:
    """A task's tokens beside the number from which a sequence counts as long.

    Args:
        task: which task.
        n_tokens: patches of 16 by 16.
        size: the model's size.
        threshold: 6 times its channels.

    Examples:
        >>> SequenceLength("a photo", 4096, "small", 2304).is_long
        True
    """

    task: str
    n_tokens: int
    size: str
    threshold: int

    @property
    def is_long(self) -> bool:
        """Whether the quadratic part of attention is larger than all the rest."""
        return self.n_tokens > self.threshold


def sequence_lengths() -> list[SequenceLength]:
    """Put the test to every task and size of model.

    Returns:
        One row for each.

    Source: Yu and Wang, "MambaOut" (2024), section 3.2.

    Examples:
        >>> [row.size for row in sequence_lengths() if row.is_long and row.task == "COCO, objects"]
        ['tiny', 'small']
    """
    return [
        SequenceLength(task, (height // PATCH) * (width // PATCH), size, 6 * dim)
        for task, (height, width) in TASKS.items()
        for size, dim in DIMS.items()
    ]
