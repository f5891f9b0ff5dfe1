"""The implementations of the cases of images: Vim and DeiT, alone and with UPerNet's head.

Images go in; maps of features come out, or logits of each pixel. Decoding is not in it. Each
implementation is checked on a model of the same kind with few blocks and a small image, against
the same in plain PyTorch.
"""

import torch
from torch import Tensor

from audiomamba import vision
from audiomamba.bench.cases import Head, VisionCase
from audiomamba.bench.implementation import Implementation, Outputs, short_and_plain
from audiomamba.bench.parts import Part
from audiomamba.errors import ConfigError

__all__ = ["build_vision"]

SHORT_SIDE = 64
SHORT_BLOCKS = (1, 2, 3, 4)


def build_vision(case: VisionCase, name: str, device: str) -> Implementation:
    """Build an implementation of inference on images; as of `build`."""
    dtype = getattr(torch, case.dtype)
    model = _model(name, case.image_side).to(device, dtype)
    short = _model(name, SHORT_SIDE, blocks=SHORT_BLOCKS).to(device, dtype)
    return Implementation(
        _inference(model, case.head, _images(case.batch, case.image_side, device, dtype)),
        short_and_plain(_inference(short, case.head, _images(2, SHORT_SIDE, device, dtype))),
    )


def _model(name: str, side: int, blocks: tuple[int, ...] | None = None) -> vision.Segmenter:
    """A segmenter with random weights, the same each time."""
    torch.manual_seed(0)
    backbone = {"n_mels": side, "n_frames": side}
    if blocks is None:
        model = vision.create(f"{name}_upernet", backbone=backbone)
    else:
        backbone["depth"] = blocks[-1]
        model = vision.create(f"{name}_upernet", backbone=backbone, blocks=blocks)
    if not isinstance(model, vision.Segmenter):
        raise ConfigError(f"{name}_upernet does not segment images")
    return model.eval()


def _images(batch: int, side: int, device: str, dtype: torch.dtype) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(batch, 3, side, side, generator=generator).to(device, dtype)


def _inference(model: vision.Segmenter, head: Head, images: Tensor) -> Part:
    def run() -> Outputs:
        with torch.inference_mode():
            return tuple(model.backbone(images)) if head == "none" else (model(images),)

    return run
