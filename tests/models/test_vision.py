"""The maps of hierarchical models on images whose sides no stride divides."""

import math

import pytest
import torch

from audiomamba import models

STAGES = {"depths": (1, 1, 1), "dims": (4, 8, 12), "n_channels": 3}
BLOCKS = {"mlp": None, "ss2d": models.SS2DConfig(d_state=1, ratio=1.0)}


@pytest.mark.parametrize(
    ("name", "changes", "roundings"),
    [
        ("mambaout_tiny_224", {}, {math.ceil}),
        ("vmamba_tiny_s2l5", {**BLOCKS, "patch_embed": "convs"}, {math.ceil}),
        ("vmamba_tiny_v0", {**BLOCKS, "downsample": "merge-crop"}, {math.floor}),
        ("vmamba_tiny_v0", {**BLOCKS, "downsample": "conv2"}, {math.floor}),
        ("vmamba_tiny_v0", {**BLOCKS, "downsample": "merge"}, {math.floor, math.ceil}),
    ],
)
@pytest.mark.parametrize("size", [(32, 48), (33, 47), (35, 61), (39, 50)])
def test_a_side_of_a_map_is_that_of_the_input_by_the_stride_rounded(name, changes, roundings, size):
    model = models.create(name, **STAGES, **changes).eval()
    with torch.no_grad():
        stages = model.forward_intermediates(torch.randn(1, 3, *size))
    assert [stage.stride for stage in stages] == [4, 8, 16]
    for stage in stages:
        for side, length in zip(stage.map.shape[2:], size, strict=True):
            assert side in {rounded(length / stage.stride) for rounded in roundings}
    steps = model.frame_steps(size[1])
    assert steps.count == stages[-1].map.shape[3]
    assert steps.n_frames == stages[-1].stride
