"""How large a dense model is and how much it computes, by the rules of the papers' tables."""

import torch
from torch import nn

from audiomamba.counting import count_macs
from audiomamba.errors import UnknownNameError
from audiomamba.vision.detector import Detector, DetectorConfig
from audiomamba.vision.heads.box_head import BOX_SIZE
from audiomamba.vision.heads.mask_head import MASK_SIZE
from audiomamba.vision.segmenter import Segmenter, SegmenterConfig
from audiomamba.vision.zoo import MODELS

__all__ = ["count_dense"]

N_MASKS = 100
SIZES = {"segmenter": (512, 2048), "detector": (800, 1280)}


def count_dense(name: str, size: tuple[int, int] | None = None) -> tuple[int, int]:
    """Count the parameters and the multiply-accumulates of a dense model.

    The second head of a segmenter, which is used in training only, counts among the parameters. A
    detector scores 1,000 boxes per stage and 100 masks.

    Args:
        name: one of `names()`.
        size: (height, width) of the image; None for the size of the papers' tables, 512 by 2048 for
            segmentation and 800 by 1280 for detection, if the model takes it, else its own.

    Returns:
        Parameters, and multiply-accumulates for one image.

    Raises:
        UnknownNameError: there is no such model.

    Examples:
        >>> n_parameters, macs = count_dense("mambaout_tiny_mask_rcnn")
        >>> f"{n_parameters / 1e6:.2f} M, {macs / 1e9:.0f} G"
        '43.13 M, 262 G'
    """
    if name not in MODELS:
        raise UnknownNameError("dense model", name, MODELS)
    config = MODELS[name]
    size = size or _table_size(config)
    with torch.device("meta"):
        model = config.build().eval()
        n_parameters = sum(weight.numel() for weight in model.parameters())
        image = torch.zeros(1, 3, *size)
        if isinstance(model, Segmenter):
            return n_parameters, count_macs(lambda: model(image))
        return n_parameters, count_macs(lambda: _detect(model, image))


def _table_size(config: SegmenterConfig | DetectorConfig) -> tuple[int, int]:
    if config.blocks:  # learned positions fit one size
        return config.model.n_mels, config.model.n_frames
    return SIZES[config.kind]


def _detect(model: nn.Module, image: torch.Tensor) -> None:
    """All of a detector but the choice of boxes, which computes next to nothing."""
    if isinstance(model, Detector):
        dim, n_boxes = model.config.dim, model.config.n_proposals
        model.rpn.score(model.pyramid(model.backbone(image)))
        for head in model.roi_heads.box_heads:
            head(image.new_zeros(n_boxes, dim, BOX_SIZE, BOX_SIZE))
        model.roi_heads.mask_head(image.new_zeros(N_MASKS, dim, MASK_SIZE, MASK_SIZE))
