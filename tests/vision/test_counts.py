"""Sizes and work of dense models, as the papers' tables state them."""

import pytest

from audiomamba import vision

# Yu and Wang 2024, tables 2 and 3: parameters in M, multiply-accumulates in G.
PUBLISHED = {
    "mambaout_tiny_mask_rcnn": (43.13, 262),
    "mambaout_small_mask_rcnn": (65.08, 354),
    "mambaout_base_mask_rcnn": (99.70, 495),
    "mambaout_tiny_upernet": (54.05, 938),
    "mambaout_small_upernet": (75.99, 1032),
    "mambaout_base_upernet": (112.20, 1178),
}
# The released settings of Vim, counted; its paper says 13, 46, 11 and 43 for the heads of UPerNet.
AS_CONFIGURED = {
    "vim_tiny_upernet": 12.31,
    "vim_small_upernet": 45.45,
    "deit_tiny_upernet": 10.88,
    "deit_small_upernet": 41.70,
    "vim_tiny_cascade_mask_rcnn": 60.08,
    "vim_small_cascade_mask_rcnn": 79.92,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_size_and_work_are_those_of_the_tables(name: str) -> None:
    n_parameters, macs = vision.count_dense(name)
    assert n_parameters / 1e6 == pytest.approx(PUBLISHED[name][0], abs=0.0051)
    assert macs / 1e9 == pytest.approx(PUBLISHED[name][1], abs=1)


@pytest.mark.parametrize("name", AS_CONFIGURED)
def test_sizes_of_plain_models(name: str) -> None:
    assert vision.count_dense(name)[0] / 1e6 == pytest.approx(AS_CONFIGURED[name], abs=0.0051)


def test_every_named_model_is_counted() -> None:
    assert {*PUBLISHED, *AS_CONFIGURED} <= {*vision.names()}


def test_a_larger_image_costs_more() -> None:
    small, large = (
        vision.count_dense("mambaout_tiny_upernet", size)[1] for size in ((256, 256), (512, 512))
    )
    assert large == pytest.approx(4 * small, rel=0.01)
