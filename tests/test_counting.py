"""The figures of the models against the papers' and against counting by hand."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from audiomamba import counting, models

# In units of 10**9, at 224 by 224, as the papers state them: MambaOut, table 1, and VMamba.
PAPERS = [
    ("mambaout_femto_224", 1.2),
    ("mambaout_tiny_224", 4.5),
    ("mambaout_small_224", 9.0),
    ("mambaout_base_224", 15.8),
    ("deit_small", 4.6),
    ("vim_small", 5.1),
]
# As the list in EfficientAT's README states them: millions of parameters, 10**9 MACs.
EFFICIENTAT = [
    ("mn04_as", 0.98, 0.11),
    ("mn05_as", 1.43, 0.16),
    ("mn10_as", 4.88, 0.54),
    ("mn20_as", 17.91, 2.06),
    ("mn30_as", 39.09, 4.55),
    ("mn40_as", 68.43, 8.03),
    ("mn40_as_ext", 68.43, 8.03),
    ("mn40_as_no_im_pre", 68.43, 8.03),
    ("mn10_as_hop_15", 4.88, 0.36),
    ("mn10_as_hop_20", 4.88, 0.27),
    ("mn10_as_hop_25", 4.88, 0.22),
    ("mn10_as_mels_40", 4.88, 0.21),
    ("mn10_as_mels_64", 4.88, 0.27),
    ("mn10_as_mels_256", 4.88, 1.08),
]
VMAMBA = [("vmamba_tiny_v0", 5.6), ("vmamba_tiny_s2l5", 4.9), ("vmamba_tiny_s1l8", 4.9)]


@pytest.mark.parametrize(("name", "expected"), PAPERS)
def test_macs_are_those_of_the_papers(name, expected):
    assert round(counting.count(models.MODELS[name]).macs / 1e9, 1) == expected


@pytest.mark.parametrize(("name", "n_parameters", "macs"), EFFICIENTAT)
def test_figures_are_those_of_efficientats_readme(name, n_parameters, macs):
    found = counting.count(models.MODELS[name])
    assert round(found.n_parameters / 1e6, 2) == n_parameters
    assert round(found.macs / 1e9, 2) == macs


def test_blocks_that_differ_in_stride_only_are_not_taken_for_alike():
    config = models.MODELS["mn01_as"]  # whose first two blocks have the same weights and inputs
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        config.build().eval()(counting.example_input(config, device="meta"))
    assert counting.count(config).macs == counter.get_total_flops() // 2


@pytest.mark.parametrize(("name", "expected"), VMAMBA)
def test_nine_operations_per_scan_step_give_the_figures_of_vmamba(name, expected):
    found = counting.count(models.MODELS[name])
    assert (found.macs + 7 * found.scan_steps) / 1e9 == pytest.approx(expected, rel=0.015)


def test_a_model_is_counted_as_by_hand():
    config = models.MODELS["aum_tiny"].changed(
        dim=32, depth=3, n_mels=32, n_frames=64, n_classes=5, direction="bi-bi"
    )
    found = counting.count(config)
    tokens, inner, rank, states, width = 2 * 4 + 1, 64, 2, 16, 4
    steps = 3 * 2 * tokens * inner * states
    projections = 32 * 2 * inner + 2 * inner * (rank + 2 * states) + 2 * rank * inner + inner * 32
    block = tokens * (projections + 2 * inner * width)
    patches = (tokens - 1) * 16 * 16 * 32
    assert found.scan_steps == steps
    assert found.macs == 3 * block + 2 * steps + patches + 32 * 5
    assert found.n_parameters == sum(p.numel() for p in config.build().parameters())


def test_layers_add_up_and_alike_ones_are_taken_together():
    config = models.MODELS["mambaout_femto"]
    layers = counting.count_layers(config, depth=3)
    total = counting.count(config)
    top = [it for it in layers if it.depth == 0]
    assert sum(it.n_parameters for it in top) == total.n_parameters
    assert sum(it.macs for it in top) == total.macs
    blocks = {it.name: it for it in layers}["stages.2.0-8"]
    assert (blocks.n_alike, blocks.depth, blocks.output) == (9, 1, (1, 8, 64, 192))
    inside = [it for it in layers if it.name.startswith("stages.2.0-8.")]
    assert [it.name.rpartition(".")[2] for it in inside] == ["norm", "fc1", "conv", "fc2"]
    assert sum(it.macs for it in inside) == blocks.macs


def test_running_alike_blocks_once_changes_nothing():
    config = models.MODELS["aum_tiny"].changed(dim=32, n_mels=32, n_frames=64)
    one, two, five = (counting.count(config.changed(depth=depth)).macs for depth in (1, 2, 5))
    assert five - two == 3 * (two - one)


def test_no_memory_is_taken_for_weights():
    found = counting.count(models.MODELS["aum_base"].changed(dim=16_384))
    assert found.n_parameters > 2e10


def test_the_threshold_is_that_of_the_paper():
    (vit,) = counting.sequences(models.MODELS["deit_small"])
    assert (vit.n_tokens, vit.threshold) == (14 * 14 + 1, 2304)
    stages = counting.sequences(models.MODELS["mambaout_tiny"])
    assert [it.n_tokens for it in stages] == [8192, 2048, 512, 128]
    assert [it.threshold for it in stages] == [576, 1152, 2304, 3456]


def test_standard_inputs_are_ten_seconds_or_the_image():
    sound = counting.at_standard_size(models.MODELS["conv_aum_tiny"])
    assert counting.example_input(sound).shape == (1, 1024, 128)
    image = counting.at_standard_size(models.MODELS["mambaout_tiny_224"])
    assert counting.example_input(image, batch=2).shape == (2, 3, 224, 224)
    assert counting.example_input(image, device="meta").device == torch.device("meta")
