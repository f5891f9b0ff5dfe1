"""RandAugment: two of fifteen changes of form and colour, all of one strength.

Source: Cubuk, Zoph, Shlens, Le, "RandAugment" (2020); with the ranges of its later use, in which a
higher strength always changes more, and strengths vary around the one asked for.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

__all__ = ["CHANGES", "rand_augment"]

N_CHANGES = 2
PROBABILITY = 0.5  # of each of the two
SPREAD = 0.5  # standard deviation of the strength
STRONGEST = 10
GREY = 0.449  # of what comes in from outside: the mean of ImageNet's pixels


def rand_augment(image: Tensor, strength: float, rng: Generator) -> Tensor:
    """Change an image twice at most.

    Args:
        image: (3, height, width) from 0 to 1.
        strength: from 0 to 10.
        rng: decides which changes, and how strong.

    Returns:
        (3, height, width) from 0 to 1.

    Examples:
        >>> rand_augment(torch.rand(3, 8, 8), 9, torch.Generator().manual_seed(1)).shape
        torch.Size([3, 8, 8])
    """
    for name in torch.randint(len(CHANGES), (N_CHANGES,), generator=rng).tolist():
        chance, sign = torch.rand(2, generator=rng).tolist()
        level = (strength + SPREAD * torch.randn((), generator=rng).item()) / STRONGEST
        if chance < PROBABILITY:
            signed = min(max(level, 0.0), 1.0) * (1 if sign < 0.5 else -1)
            image = list(CHANGES.values())[name](image, signed).clamp(0, 1)
    return image


def _affine(image: Tensor, matrix: list[list[float]]) -> Tensor:
    """Read an image where a matrix says, in units of half its sides."""
    theta = torch.tensor([matrix])
    grid = F.affine_grid(theta, [1, 3, *image.shape[1:]], align_corners=False)
    return F.grid_sample(image[None] - GREY, grid, align_corners=False)[0] + GREY


def _rotate(image: Tensor, level: float) -> Tensor:
    angle = torch.tensor(level * 30).deg2rad()
    height, width = image.shape[1:]
    cos, sin = angle.cos().item(), angle.sin().item()
    return _affine(image, [[cos, -sin * height / width, 0.0], [sin * width / height, cos, 0.0]])


def _posterize(image: Tensor, level: float) -> Tensor:
    steps = 2.0 ** (8 - round(abs(level) * 4))
    return (image * 255 / 256 * steps).floor() / steps


def _equalize(image: Tensor, _level: float) -> Tensor:
    """Spread each channel's values so that all are equally frequent."""
    levels = (image * 255).round().long()
    out = []
    for channel in levels:
        share = channel.flatten().bincount(minlength=256).cumsum(0).float() / channel.numel()
        out.append(share[channel])
    return torch.stack(out)


def _autocontrast(image: Tensor, _level: float) -> Tensor:
    low, high = image.amin(dim=(1, 2), keepdim=True), image.amax(dim=(1, 2), keepdim=True)
    return torch.where(high > low, (image - low) / (high - low).clamp(min=1e-6), image)


def _sharpen(image: Tensor, level: float) -> Tensor:
    smooth = F.avg_pool2d(F.pad(image[None], (1, 1, 1, 1), "replicate"), 3, 1)[0]
    return smooth + (1 + 0.9 * level) * (image - smooth)


def _saturate(image: Tensor, level: float) -> Tensor:
    grey = image.mean(dim=0, keepdim=True)
    return grey + (1 + 0.9 * level) * (image - grey)


CHANGES: Mapping[str, Callable[[Tensor, float], Tensor]] = {
    "autocontrast": _autocontrast,
    "equalize": _equalize,
    "invert": lambda image, _: 1 - image,
    "rotate": _rotate,
    "posterize": _posterize,
    "solarize": lambda image, level: torch.where(image < 1 - abs(level), image, 1 - image),
    "solarize-add": lambda image, level: torch.where(image < 0.5, image + 0.43 * abs(level), image),
    "saturate": _saturate,
    "contrast": lambda image, level: image.mean() + (1 + 0.9 * level) * (image - image.mean()),
    "brighten": lambda image, level: image * (1 + 0.9 * level),
    "sharpen": _sharpen,
    "shear-x": lambda image, level: _affine(image, [[1.0, 0.3 * level, 0.0], [0.0, 1.0, 0.0]]),
    "shear-y": lambda image, level: _affine(image, [[1.0, 0.0, 0.0], [0.3 * level, 1.0, 0.0]]),
    "translate-x": lambda image, level: _affine(image, [[1.0, 0.0, 0.9 * level], [0.0, 1.0, 0.0]]),
    "translate-y": lambda image, level: _affine(image, [[1.0, 0.0, 0.0], [0.0, 1.0, 0.9 * level]]),
}
