"""Every weight of every family starts as it should: by value, or by its distribution."""

import math
import re

import pytest
import torch
from torch import Tensor, nn

from audiomamba import models
from audiomamba.models.layers.mamba import MambaBlock, SSMConfig

# One model of each family with all kinds of its weights, wide enough for statistics.
MODELS = {
    "ast": ("ast_gong_tiny", {"dim": 96, "depth": 2}),
    "audiomamba": (
        "audiomamba_tiny",
        {"depths": (1, 1), "dims": (48, 96), "image_size": 128, "n_heads": (2, 2)},
    ),
    "aum": ("aum_tiny", {"dim": 96, "depth": 4, "direction": "bi-bi", "class_token": "double"}),
    "cnn": ("cnn_small", {}),
    "cnn14": ("cnn14", {"widths": (16, 32, 48, 64, 64, 96)}),
    "conv_aum": ("conv_aum_tiny", {"dim": 96}),
    "efficientat": ("mn04_as", {}),
    "htsat": (
        "htsat_tiny",
        {"image_size": 128, "dim": 48, "depths": (1, 2), "n_heads": (4, 4), "window": 4},
    ),
    "mambaout": ("mambaout_tiny", {"depths": (1, 2), "dims": (48, 64)}),
    "mobile_aum": ("mobile_aum_small", {"depth": 2}),
    "vim": ("vim_tiny", {"dim": 96, "depth": 4}),
    "vmamba": ("vmamba_tiny_v0", {"depths": (1, 1), "dims": (48, 96), "mlp": models.MLPConfig()}),
}


def fans(weight: Tensor) -> tuple[int, int]:
    """Inputs and outputs of one position of a linear layer or a convolution."""
    window = weight[0, 0].numel()
    return weight.shape[1] * window, weight.shape[0] * window


def constant(value: float):
    def check(weight: Tensor, _module: nn.Module) -> None:
        assert (weight == value).all()

    return check


def is_normal(weight: Tensor, std: float) -> None:
    n = weight.numel()
    assert weight.mean().abs().item() < 5 * std / n**0.5
    assert weight.std().item() == pytest.approx(std, rel=5 * (0.5 / n) ** 0.5)
    if n > 1000:
        kurtosis = (weight - weight.mean()).pow(4).mean() / weight.var().square()
        assert 2.5 < kurtosis < 3.6  # of a uniform distribution it is 1.8


def is_uniform(weight: Tensor, bound: float) -> None:
    n = weight.numel()
    assert bound * (1 - 20 / n) < weight.abs().max().item() <= bound * (1 + 1e-6)
    assert weight.mean().abs().item() < 5 * bound / (3 * n) ** 0.5
    assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=5 * (0.2 / n) ** 0.5)


def normal(std: float):
    return lambda weight, _module: is_normal(weight, std)


def kaiming_out(weight: Tensor, _module: nn.Module) -> None:
    is_normal(weight, (2 / fans(weight)[1]) ** 0.5)


def xavier(weight: Tensor, _module: nn.Module) -> None:
    is_uniform(weight, (6 / sum(fans(weight))) ** 0.5)


def lecun(weight: Tensor, _module: nn.Module) -> None:
    """Variance 1 / inputs, cut at two standard deviations of what is cut."""
    std = fans(weight)[0] ** -0.5
    assert weight.std().item() == pytest.approx(std, rel=0.03)
    assert 2.2 * std < weight.abs().max().item() < 2.28 * std


def torch_default(weight: Tensor, module: nn.Module) -> None:
    """Uniform within 1 / sqrt(inputs), weight and bias alike."""
    is_uniform(weight, fans(module.weight)[0] ** -0.5)


def by_last_axis(weight: Tensor, _module: nn.Module) -> None:
    is_uniform(weight, weight.shape[-1] ** -0.5)


def of_one_block_in_four(weight: Tensor, _module: nn.Module) -> None:
    is_uniform(weight, fans(weight)[0] ** -0.5 / 2)


def of_one_block_in_two(weight: Tensor, _module: nn.Module) -> None:
    is_uniform(weight, fans(weight)[0] ** -0.5 / 2**0.5)


def log_of_states(weight: Tensor, _module: nn.Module) -> None:
    states = torch.tensor([math.log(state) for state in range(1, weight.shape[-1] + 1)])
    torch.testing.assert_close(weight, states.expand_as(weight))


def step_sizes(bias: Tensor, _module: nn.Module) -> None:
    """Softplus of the biases is log-uniform from 0.001 to 0.1."""
    log_steps = nn.functional.softplus(bias.double()).log10()
    is_uniform((log_steps + 2).float(), 1.0)


MIXER = [
    (r"A(_b)?_log$", log_of_states),
    (r"\.D(_b)?$", constant(1)),
    (r"dt_proj(_b)?\.bias$", step_sizes),
    (r"dt_proj(_b)?\.weight$", by_last_axis),
    (r"in_proj|x_proj|conv1d", torch_default),
]
SS2D = [
    (r"A_logs$", log_of_states),
    (r"Ds$", constant(1)),
    (r"dt_projs_bias$", step_sizes),
    (r"dt_projs_weight$|x_proj_weight$", by_last_axis),
    (r"conv", torch_default),
    (r"weight$", normal(0.02)),
    (r"bias$", constant(0)),
]
TABLES = [(r"(pos_embed|cls_token\w*|dist_token|position_bias_table)$", normal(0.02))]
HEAD = [(r"^head\.weight$", normal(0.02)), (r"^head\.bias$", constant(0))]
PATCHES = [(r"patch_embed.*weight$", lecun), (r"patch_embed.*bias$", constant(0))]
LINEAR = [(r"weight$", normal(0.02)), (r"bias$", constant(0))]
SMALL_LINEAR = [
    (r"squeeze.*weight$|head.*weight$", normal(0.01)),
    (r"squeeze.*bias$|head.*bias$", constant(0)),
    (r"conv\.weight$", kaiming_out),
]
LAWS = {
    "ast": TABLES + PATCHES + LINEAR,
    "audiomamba": SS2D,
    "aum": TABLES + HEAD + PATCHES + MIXER + [(r"out_proj", of_one_block_in_four)],
    "cnn": [*HEAD, (r"layers", torch_default)],
    "cnn14": [*HEAD, (r"weight$", xavier), (r"bias$", constant(0))],
    "conv_aum": [
        *TABLES,
        *HEAD,
        *MIXER,
        (r"out_proj", of_one_block_in_four),
        (r"stem", torch_default),
    ],
    "efficientat": SMALL_LINEAR,
    "htsat": [*TABLES, (r"patch_embed|head\.conv", torch_default), *LINEAR],
    "mambaout": LINEAR,
    "mobile_aum": [
        *TABLES,
        *MIXER,
        (r"out_proj", of_one_block_in_two),
        (r"merge|widen", torch_default),
        *SMALL_LINEAR,
    ],
    "vim": TABLES + HEAD + PATCHES + MIXER + [(r"out_proj", of_one_block_in_four)],
    "vmamba": HEAD + SS2D,
}
NORMS = (nn.LayerNorm, nn.RMSNorm, nn.BatchNorm1d, nn.BatchNorm2d)
NORM = [(r"weight$", constant(1)), (r"bias$", constant(0))]


def test_every_family_has_its_laws():
    assert set(LAWS) == set(MODELS) == set(models.FAMILIES)


@pytest.mark.parametrize("family", MODELS)
def test_every_weight_starts_as_its_law_says(family):
    torch.manual_seed(0)
    name, changes = MODELS[family]
    model = models.create(name, n_classes=64, **changes)
    assert model.config.family == family
    for path, module in model.named_modules():
        laws = NORM if isinstance(module, NORMS) else LAWS[family]
        for key, weight in module.named_parameters(prefix=path, recurse=False):
            law = next((law for pattern, law in laws if re.search(pattern, key)), None)
            assert law is not None, f"no law for {key}"
            try:
                law(weight.detach(), module)
            except AssertionError as error:
                raise AssertionError(f"{key} {tuple(weight.shape)}: {error}") from None


@pytest.mark.parametrize("family", ["aum", "conv_aum", "vim"])
def test_no_weight_is_the_same_in_two_layers(family):
    name, changes = MODELS[family]
    model = models.create(name, **changes)
    first, second = (model.layers[index].mixer for index in (0, 1))
    for key in ("in_proj", "x_proj", "out_proj", "dt_proj"):
        one, other = (getattr(mixer, key).weight for mixer in (first, second))
        assert not torch.equal(one, other)


@pytest.mark.parametrize("depth", [2, 9])
def test_the_output_of_a_block_is_scaled_down_by_the_depth_of_the_stack(depth):
    def weight(depth: int) -> Tensor:
        torch.manual_seed(0)
        block = MambaBlock(32, "fo-bi", SSMConfig(), depth=depth, drop_path=0.0)
        return block.mixer.out_proj.weight

    torch.testing.assert_close(weight(depth) * depth**0.5, weight(1))
