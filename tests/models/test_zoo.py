"""What holds for every model by name: one contract."""

import pytest
import torch

from audiomamba import models
from audiomamba.errors import ConfigError, UnknownNameError

N_MELS, N_FRAMES, N_CLASSES = 64, 96, 5
SMALL = {
    "ast": {"dim": 24, "depth": 2, "n_heads": 3},
    "aum": {"dim": 24, "depth": 2},
    "cnn": {"widths": (4, 8, 12, 16)},
    "conv_aum": {"dim": 24, "depth": 2, "stem": (4, 8, 12)},
}
EXACT_COUNTS = [
    ("ast_small", {}, 21_794_063),
    ("ast_base", {}, 86_054_927),
    ("aum_tiny", {}, 6_438_479),
    ("aum_small", {}, 23_935_631),
    ("aum_small", {"direction": "bi-bi"}, 25_539_215),
    ("aum_small", {"direction": "bi-bi", "n_classes": 309}, 25_455_285),
    ("aum_small", {"direction": "bi-bi", "n_classes": 1251}, 25_817_955),
    ("aum_small", {"direction": "bi-bi", "n_classes": 35, "n_frames": 128}, 25_177_763),
    ("aum_small", {"direction": "bi-bi", "n_classes": 44}, 25_353_260),
    ("aum_base", {}, 92_107_535),
    ("aum_base", {"direction": "fo-fo"}, 91_517_711),
    ("aum_base", {"direction": "bi-bi"}, 97_084_175),
    ("aum_base", {"n_classes": 309}, 91_939_893),
    ("aum_base", {"n_classes": 1251}, 92_664_291),
    ("aum_base", {"n_classes": 35, "n_frames": 128}, 91_385_123),
    ("aum_base", {"n_classes": 44}, 91_736_108),
]


@pytest.fixture(params=models.names())
def model(request):
    torch.manual_seed(0)
    family = models.MODELS[request.param].family
    size = {"n_classes": N_CLASSES, "n_mels": N_MELS, "n_frames": N_FRAMES}
    return models.create(request.param, **size, **SMALL[family]).eval()


def features(batch: int = 2, frames: int = N_FRAMES) -> torch.Tensor:
    return torch.randn(batch, frames, N_MELS, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("name", "changes", "count"), EXACT_COUNTS)
def test_parameter_counts_are_those_of_the_papers_code(name, changes, count):
    with torch.device("meta"):
        model = models.create(name, **changes)
    assert sum(weight.numel() for weight in model.parameters()) == count


def test_every_family_is_named():
    assert set(SMALL) == set(models.FAMILIES) == {c.family for c in models.MODELS.values()}


def test_logits_are_the_head_of_the_embedding(model):
    x = features()
    logits = model(x)
    assert logits.shape == (2, N_CLASSES)
    torch.testing.assert_close(logits, model.head(model.embed(x)))
    assert model.tokens(x).ndim == 3
    assert model.tokens(x).shape[2] == model.embed(x).shape[1]


def test_clips_of_a_batch_do_not_touch_each_other(model):
    x = features(3)
    torch.testing.assert_close(model(x)[1:2], model(x[1:2]), rtol=1e-4, atol=1e-5)


def test_every_weight_gets_a_gradient(model):
    model.train()(features()).square().sum().backward()
    without = [name for name, p in model.named_parameters() if p.grad is None]
    assert not without
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_the_same_seed_gives_the_same_weights(model):
    torch.manual_seed(0)
    again = model.config.build()
    for key, value in again.state_dict().items():
        torch.testing.assert_close(value, model.state_dict()[key], rtol=0, atol=0)


def test_a_new_head_leaves_the_rest(model):
    before = {k: v.clone() for k, v in model.state_dict().items() if not k.startswith("head.")}
    model.reset_head(7)
    assert model.config.n_classes == 7
    assert model(features()).shape == (2, 7)
    for key, value in before.items():
        torch.testing.assert_close(model.state_dict()[key], value, rtol=0, atol=0)


def test_bfloat16_is_close(model):
    x = features()
    with torch.autocast("cpu", torch.bfloat16):
        found = model(x)
    torch.testing.assert_close(found.float(), model(x), rtol=0.1, atol=0.1)


def test_other_mel_bands_are_refused(model):
    with pytest.raises(ConfigError, match=r"\(2, 96, 32\); expected \(batch, frames, 64\)"):
        model(torch.randn(2, 96, 32))


def test_odd_lengths_are_read_or_refused(model):
    x = features(frames=81)
    if model.config.family == "ast":
        with pytest.raises(ConfigError, match="81 frames; this model takes 96"):
            model(x)
    else:
        assert torch.isfinite(model(x)).all()


@pytest.mark.parametrize("name", ["aum_tiny", "conv_aum_tiny"])
def test_compiles_and_exports_whole(name):
    family = models.MODELS[name].family
    size = {"n_classes": N_CLASSES, "n_mels": N_MELS, "n_frames": N_FRAMES}
    model = models.create(name, **size, **SMALL[family]).eval()
    x = features()
    program = torch.export.export(model, (x,))
    torch.testing.assert_close(program.module()(x), model(x))
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), model(x))


def test_unknown_names_offer_near_ones():
    with pytest.raises(UnknownNameError, match="unknown model 'aum_tin'; did you mean aum_tiny"):
        models.create("aum_tin")
    with pytest.raises(UnknownNameError, match="'dept'; did you mean depth"):
        models.create("aum_tiny", dept=3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depth": 0}, "AuMConfig.depth is 0; expected a positive int"),
        ({"depth": True}, "depth is True"),
        ({"direction": "bi-fo"}, "expected one of 'fo-fo', 'fo-bi', 'bi-bi'"),
        ({"patch": (16,)}, r"patch is \(16,\); expected \(a positive int, a positive int\)"),
        ({"stride": "x"}, "or None"),
        ({"drop_path": -0.1}, "expected a float of at least 0"),
        ({"ssm": 3}, "expected a SSMConfig"),
        ({"n_frames": 8}, "smaller than one patch of 16 by 16"),
    ],
)
def test_bad_settings_are_named(changes, message):
    with pytest.raises(ConfigError, match=message):
        models.create("aum_tiny", **changes)


def test_heads_must_divide_the_width():
    with pytest.raises(ConfigError, match="dim is 25; expected a multiple of n_heads, 3"):
        models.create("ast_tiny", dim=25)


def test_bands_must_fit_the_stem():
    with pytest.raises(ConfigError, match="n_mels is 40; expected a multiple of 16"):
        models.create("conv_aum_tiny", n_mels=40)
