"""The dense models of the papers, made by name."""

from collections.abc import Mapping
from typing import Any

from audiomamba import models
from audiomamba.errors import UnknownNameError
from audiomamba.models import RotaryPositions
from audiomamba.models.ast import ASTConfig
from audiomamba.models.mambaout import MambaOutConfig
from audiomamba.models.vim import VimConfig
from audiomamba.vision.detector import Detector, DetectorConfig
from audiomamba.vision.segmenter import Segmenter, SegmenterConfig

__all__ = ["MODELS", "create", "names"]

CROP = 512  # side of the windows of ADE20K
SQUARE = 1024  # side of the padded images of COCO
FOUR_OF_24 = (6, 12, 18, 24)
FOUR_OF_12 = (3, 6, 9, 12)

# MambaOut's drop rates with the heads are those that its author names; femto is not in the papers.
_MAMBAOUT_DROPS = {"femto": 0.025, "tiny": 0.3, "small": 0.4, "base": 0.6}


def _mambaout(size: str) -> MambaOutConfig:
    config = models.MODELS[f"mambaout_{size}_224"]
    return config.changed(drop_path=_MAMBAOUT_DROPS[size])  # type: ignore[return-value]


def _vim(size: str, side: int, **changes: Any) -> VimConfig:
    config = models.MODELS[f"vim_{size}"]
    return config.changed(n_mels=side, n_frames=side, **changes)  # type: ignore[return-value]


def _deit(size: str, side: int) -> ASTConfig:
    config = models.MODELS[f"deit_{size}"]
    return config.changed(n_mels=side, n_frames=side)  # type: ignore[return-value]


def _cascade(model: VimConfig | ASTConfig) -> DetectorConfig:
    return DetectorConfig(model=model, blocks=(model.depth,), cascade=True, side=SQUARE)


_TURNING = RotaryPositions(residual=True)
_UPERNETS = {
    f"mambaout_{size}_upernet": SegmenterConfig(model=_mambaout(size)) for size in _MAMBAOUT_DROPS
} | {
    "vim_tiny_upernet": SegmenterConfig(
        model=_vim("tiny", CROP, class_token="none"), blocks=FOUR_OF_24, feature="branch", dim=192
    ),
    "vim_small_upernet": SegmenterConfig(
        model=_vim("small", CROP, positions=_TURNING), blocks=FOUR_OF_24, dim=384
    ),
    "deit_tiny_upernet": SegmenterConfig(model=_deit("tiny", CROP), blocks=FOUR_OF_12, dim=192),
    "deit_small_upernet": SegmenterConfig(model=_deit("small", CROP), blocks=FOUR_OF_12, dim=384),
}
_RCNNS = (
    {
        f"mambaout_{size}_mask_rcnn": DetectorConfig(model=_mambaout(size))
        for size in _MAMBAOUT_DROPS
    }
    | {
        f"vim_{size}_cascade_mask_rcnn": _cascade(
            _vim(size, SQUARE, class_token="none", positions=_TURNING, drop_path=0.1)
        )
        for size in ("tiny", "small")
    }
    | {
        f"deit_{size}_cascade_mask_rcnn": _cascade(_deit(size, SQUARE))
        for size in ("tiny", "small")
    }
)
MODELS: dict[str, SegmenterConfig | DetectorConfig] = dict(sorted((_UPERNETS | _RCNNS).items()))


def names() -> list[str]:
    """The names of all dense models, sorted.

    Returns:
        Names that `create` takes.

    Examples:
        >>> names()[:2]
        ['deit_small_cascade_mask_rcnn', 'deit_small_upernet']
    """
    return list(MODELS)


def create(
    name: str, backbone: Mapping[str, Any] | None = None, **changes: Any
) -> Segmenter | Detector:
    """Make a dense model with fresh weights.

    Args:
        name: one of `names()`.
        backbone: new values for fields of its backbone's config, such as drop_path=0.1.
        changes: new values for fields of its config, such as n_classes=10.

    Returns:
        The model, in training mode.

    Raises:
        UnknownNameError: there is no such model; the message offers the nearest names.
        ConfigError: a value does not fit its field.

    Examples:
        >>> model = create("vim_tiny_upernet", n_classes=12)
        >>> sum(p.numel() for p in model.parameters()) > 10_000_000
        True
    """
    if name not in MODELS:
        raise UnknownNameError("dense model", name, MODELS)
    config = MODELS[name]
    if backbone:
        changes["model"] = config.model.changed(**backbone)
    return config.changed(**changes).build()
