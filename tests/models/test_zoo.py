"""What holds for every model by name: one contract."""

from functools import cache
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audiomamba import checkpoints, models
from audiomamba.audio import FrontEnd
from audiomamba.errors import ConfigError, UnknownNameError
from audiomamba.models.layers.mel_image import MelImageModel
from audiomamba.models.mambaout import HEAD_RATIO

N_MELS, N_FRAMES, N_CLASSES = 64, 96, 5
# A new family needs an entry here, and nothing else in this file.
SMALL = {
    "ast": {"dim": 24, "depth": 2, "n_heads": 3},
    "audiomamba": {"depths": (1, 1), "dims": (8, 16), "image_size": 128},
    "aum": {"dim": 24, "depth": 2},
    "cnn": {"widths": (4, 8, 12, 16)},
    "cnn14": {"widths": (4, 6, 8, 8, 12, 16)},
    "conv_aum": {"dim": 24, "depth": 2, "stem": (4, 8, 12)},
    "efficientat": {"width": 0.1},
    "htsat": {"image_size": 128, "dim": 8, "depths": (1, 2), "n_heads": (2, 2), "window": 4},
    "mambaout": {"depths": (1, 2), "dims": (8, 12)},
    "mobile_aum": {
        "width": 0.1,
        "dim": 24,
        "depth": 2,
        "n_bands": 2,
        "embed_dim": 40,
        "frame_context": 3,
    },
    "vim": {"dim": 24, "depth": 2},
    "vmamba": {"depths": (1, 1), "dims": (8, 16)},
}
FIXED_LENGTH = ("ast",)
FROZEN_FRONT_END = 2 * 513 * 1024 + 513 * 64  # Fourier transform and mel bands of HTS-AT and PANNs
EXACT_COUNTS = [
    # The AuM paper's 22.18 M and 86.82 M count the image head too that its code deletes.
    ("ast_small", {}, 22_179_063 - (384 * 1000 + 1000)),
    ("ast_base", {}, 86_823_927 - (768 * 1000 + 1000)),
    # AST's authors keep two image heads in the model that nothing reads.
    ("ast_gong_tiny", {}, 6_109_663 - 2 * (192 * 1000 + 1000)),
    ("ast_gong_small", {}, 22_833_631 - 2 * (384 * 1000 + 1000)),
    ("ast_gong_base", {}, 88_132_063 - 2 * (768 * 1000 + 1000)),
    ("ast_gong_base", {"stride": (16, 16)}, 87_594_463 - 2 * (768 * 1000 + 1000)),
    ("deit_tiny", {}, 5_717_416),
    ("deit_small", {}, 22_050_664),
    ("deit_base", {}, 86_567_656),
    ("aum_tiny", {}, 6_438_479),
    # The authors count the frozen matrices of the front end and a layer that nothing reads.
    ("htsat_tiny", {}, 31_325_143 - FROZEN_FRONT_END - 527 * 528),
    ("htsat_tiny", {"n_classes": 50}, 28_850_944 - FROZEN_FRONT_END - 50 * 51),
    ("cnn14", {}, 81_837_071 - FROZEN_FRONT_END),
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
    ("mambaout_femto_224", {}, 7_304_536),
    ("mambaout_kobe_224", {}, 9_141_208),
    ("mambaout_tiny_224", {}, 26_545_096),
    ("mambaout_small_224", {}, 48_488_072),
    ("mambaout_base_224", {}, 84_813_092),
    ("vim_tiny", {}, 7_148_008),
    ("vim_small", {}, 25_796_584),
    ("vim_base", {}, 97_598_440),
    ("vim_tiny", {"stride": (8, 8)}, 7_250_344),
    ("vim_small", {"stride": (8, 8)}, 26_001_256),
    # The authors' count has the front end's frozen kernels and a linear layer that is not used.
    ("audiomamba_tiny", {}, 39_606_751 - 1_083_456 - 278_256),
    ("audiomamba_tiny", {}, 38_523_295 - 278_256),
    ("audiomamba_micro", {}, 10_957_111),
    ("audiomamba_nano", {}, 3_848_815),
    ("vmamba_tiny_v0", {}, 22_893_448),
    ("vmamba_tiny_s2l5", {}, 30_705_832),
    ("vmamba_tiny_s1l8", {}, 30_249_064),
    ("dass_small", {}, 29_884_463),
    ("dass_medium", {}, 48_648_239),
]


def small(name: str) -> models.ModelConfig:
    """A model's settings in test size."""
    config = models.MODELS[name]
    size = {"n_classes": N_CLASSES, "n_mels": N_MELS, "n_frames": N_FRAMES}
    rate = {"drop_path": 0.1} if hasattr(config, "drop_path") else {}
    return config.changed(**size, **rate, **SMALL[config.family])


# Names that differ only in width and depth are the same model here, and are tested once.
VARIANTS = {config: name for name, config in reversed([(n, small(n)) for n in models.names()])}
SOUND = {c: name for c, name in VARIANTS.items() if c.reads_sound}
# What takes long is tested once per family and kind of input.
FAMILIES = {(c.family, c.reads_sound): c for c in VARIANTS}.values()


@pytest.fixture(params=VARIANTS, ids=VARIANTS.values())
def model(request):
    torch.manual_seed(0)
    return request.param.build().eval()


def is_hierarchical(config: models.ModelConfig) -> bool:
    with torch.device("meta"):
        return isinstance(config.build(), models.HierarchicalModel)


@pytest.fixture(params=FAMILIES, ids=[VARIANTS[config] for config in FAMILIES])
def member(request):
    torch.manual_seed(0)
    return request.param.build().eval()


def inputs(model, batch: int = 2, frames: int = N_FRAMES) -> torch.Tensor:
    """Features, or images for a model that reads those."""
    sound = model.config.reads_sound
    shape = (batch, frames, N_MELS) if sound else (batch, 3, N_MELS, frames)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("name", "changes", "count"), EXACT_COUNTS)
def test_parameter_counts_are_those_of_the_papers_code(name, changes, count):
    with torch.device("meta"):
        model = models.create(name, **changes)
    assert sum(weight.numel() for weight in model.parameters()) == count


def test_every_family_is_named():
    assert set(SMALL) == set(models.FAMILIES) == {c.family for c in models.MODELS.values()}


def test_logits_are_the_head_of_the_embedding(model):
    x = inputs(model)
    logits = model(x)
    assert logits.shape == (2, N_CLASSES)
    if isinstance(model, MelImageModel):  # its head scores steps of time
        expected = model.frame_logits(x).mean(dim=1)
    else:
        expected = model.head(model.embed(x))
    torch.testing.assert_close(logits, expected)
    tokens, embedding = model.tokens(x), model.embed(x)
    assert (tokens.ndim, embedding.ndim) == (3, 2)
    assert embedding.shape[1] in (tokens.shape[2], HEAD_RATIO * tokens.shape[2])


@pytest.mark.parametrize("config", [*filter(is_hierarchical, FAMILIES)], ids=lambda it: it.family)
def test_stages_give_maps_of_falling_size(config):
    model = config.build().eval()
    stages = model.forward_intermediates(inputs(model))
    assert len(stages) > 1
    for before, stage in pairwise(stages):
        assert stage.stride == 2 * before.stride
        assert stage.map.shape[2] == (before.map.shape[2] + 1) // 2
    assert model.tokens(inputs(model)).shape[1] == stages[-1].map[0, 0].numel()


def test_inputs_of_a_batch_do_not_touch_each_other(model):
    x = inputs(model, batch=3)
    torch.testing.assert_close(model(x)[1:2], model(x[1:2]), rtol=1e-4, atol=1e-5)


def test_every_weight_gets_a_gradient(model):
    model.train()(inputs(model)).square().sum().backward()
    without = [name for name, p in model.named_parameters() if p.grad is None]
    assert not without
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_the_same_seed_gives_the_same_weights(model):
    torch.manual_seed(0)
    again = model.config.build()
    for key, value in again.state_dict().items():
        torch.testing.assert_close(value, model.state_dict()[key], rtol=0, atol=0)


def test_a_saved_model_gives_the_same_logits(model, tmp_path):
    sound = model.config.reads_sound
    checkpoint = checkpoints.Checkpoint(
        name="small",
        model=model,
        front_end=FrontEnd(n_mels=N_MELS, n_frames=N_FRAMES) if sound else None,
        labels=tuple("abcde"),
        scores="sigmoid",
    )
    checkpoints.save(tmp_path / "small", checkpoint)
    found = checkpoints.load(tmp_path / "small").model
    assert found.config == model.config
    x = inputs(model)
    torch.testing.assert_close(found(x), model(x), rtol=0, atol=0)
    weights = zip(found.state_dict().values(), model.state_dict().values(), strict=True)
    assert all(one.stride() == other.stride() for one, other in weights)


def test_a_new_head_leaves_the_rest(model):
    before = {k: v.clone() for k, v in model.state_dict().items() if not k.startswith("head.")}
    model.reset_head(7)
    assert model.config.n_classes == 7
    assert model(inputs(model)).shape == (2, 7)
    for key, value in before.items():
        torch.testing.assert_close(model.state_dict()[key], value, rtol=0, atol=0)


def test_bfloat16_is_close(model):
    x = inputs(model)
    expected = model(x)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = model(x)
    torch.testing.assert_close(mixed.float(), expected, rtol=0.1, atol=0.1)
    narrow = model.bfloat16()(x.bfloat16())
    assert narrow.dtype == torch.bfloat16
    torch.testing.assert_close(narrow.float(), expected, rtol=0.1, atol=0.1)


def test_inputs_of_another_shape_are_refused(model):
    if model.config.reads_sound:
        wrong, message = (2, 96, 32), r"\(2, 96, 32\); expected \(batch, frames, 64\)"
    else:
        wrong, message = (2, 1, 64, 96), r"\(2, 1, 64, 96\); expected \(batch, 3, height, width\)"
    with pytest.raises(ConfigError, match=message):
        model(torch.randn(wrong))


def test_odd_lengths_are_read_or_refused(model):
    x = inputs(model, frames=81)
    if model.config.family in FIXED_LENGTH:
        with pytest.raises(ConfigError, match=r"81.* takes .*96"):
            model(x)
    else:
        assert torch.isfinite(model(x)).all()


@cache
def built(config: models.ModelConfig) -> models.AudioModel:
    torch.manual_seed(0)
    return config.build().eval()


def alone(model, method: str, clip: torch.Tensor) -> torch.Tensor:
    """What a model says about one clip; one of fixed length has to be told that this one is not."""
    whole = None
    if model.config.family in FIXED_LENGTH:
        whole = torch.tensor([clip.shape[1]])
    return getattr(model, method)(clip, whole)[0]


def batch_of(lengths: list[int], padding: float) -> torch.Tensor:
    """Clips with something else behind their ends."""
    x = torch.randn(len(lengths), N_FRAMES, N_MELS, generator=torch.Generator().manual_seed(1))
    for clip, length in zip(x, lengths, strict=True):
        clip[length:] = padding
    return x


def assert_same(found: torch.Tensor, expected: torch.Tensor, tolerance: float = 1e-5) -> None:
    largest = expected.abs().max().item()
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance * largest)


LENGTHS = st.lists(st.integers(16, N_FRAMES), min_size=1, max_size=4)
PADDING = st.sampled_from([float("nan"), float("inf"), 0.0, 30.0])


@pytest.mark.parametrize("config", SOUND, ids=SOUND.values())
@settings(max_examples=8, deadline=None)
@given(lengths=LENGTHS, padding=PADDING)
def test_each_clip_of_a_batch_gets_what_it_gets_alone(config, lengths, padding):
    model, x = built(config), batch_of(lengths, padding)
    with torch.no_grad():
        for method in ("forward", "embed", "frame_logits", "frame_embeddings"):
            found = getattr(model, method)(x, torch.tensor(lengths))
            assert torch.isfinite(found).all()
            for clip, length, of_clip in zip(x, lengths, found, strict=True):
                expected = alone(model, method, clip[None, :length])
                if method.startswith("frame"):
                    assert len(expected) == model.frame_steps(length).count
                assert_same(of_clip[: len(expected)], expected)


@pytest.mark.parametrize("config", SOUND, ids=SOUND.values())
def test_gradients_of_a_batch_are_the_sum_of_those_of_its_clips(config):
    model, lengths = built(config), [33, 96, 64]
    x = batch_of(lengths, float("nan"))
    found = torch.autograd.grad(
        model(x, torch.tensor(lengths)).square().sum(), [*model.parameters()]
    )
    losses = [
        alone(model, "forward", clip[None, :length]).square().sum()
        for clip, length in zip(x, lengths, strict=True)
    ]
    for of_batch, of_clips in zip(
        found, torch.autograd.grad(sum(losses), [*model.parameters()]), strict=True
    ):
        assert_same(of_batch, of_clips, tolerance=2e-5)


@pytest.mark.parametrize("config", SOUND, ids=SOUND.values())
def test_lengths_in_bfloat16_are_close(config):
    lengths = torch.tensor([33, 96])
    x = batch_of(lengths.tolist(), float("nan"))
    expected = built(config)(x, lengths)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = built(config)(x, lengths)
    torch.testing.assert_close(mixed.float(), expected, rtol=0.1, atol=0.1)
    torch.manual_seed(0)
    narrow = config.build().eval().bfloat16()(x.bfloat16(), lengths)
    assert narrow.dtype == torch.bfloat16
    torch.testing.assert_close(narrow.float(), expected, rtol=0.1, atol=0.1)


@pytest.mark.parametrize("config", SOUND, ids=SOUND.values())
def test_steps_cover_a_clip_evenly(config):
    model = built(config)
    for frames in (N_FRAMES,) if config.family in FIXED_LENGTH else (16, 47, N_FRAMES, 300):
        steps = model.frame_steps(frames)
        assert model.frame_logits(inputs(model, 1, frames)).shape == (1, steps.count, N_CLASSES)
        assert abs(steps.count * steps.n_frames - frames) < 32


@pytest.mark.parametrize("config", SOUND, ids=SOUND.values())
def test_a_pooling_model_scores_the_mean_of_its_steps(config):
    model = built(config)
    assert model.pools_frames == (not hasattr(config, "class_token") and config.family != "ast")
    if config.family in ("conv_aum", "cnn", "vmamba", "htsat", "audiomamba"):
        x = inputs(model)
        torch.testing.assert_close(model.frame_logits(x).mean(dim=1), model(x))


@pytest.mark.parametrize("name", ["vim_tiny", "deit_tiny", "vmamba_tiny_v0", "mambaout_tiny_224"])
def test_images_have_no_lengths(name):
    assert not small(name).reads_sound
    with pytest.raises(ConfigError, match="images have none; give clips of one length"):
        built(small(name))(torch.randn(2, 3, N_MELS, N_FRAMES), torch.tensor([90, 96]))


@pytest.mark.parametrize("config", SOUND, ids=SOUND.values())
@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([96], r"int64 of shape \(1,\); expected integers \(2,\)"),
        ([96.0, 90.0], "float32 of shape"),
        ([0, 90], "lengths go from 0 to 90; expected [0-9]+ to 96 frames"),
        ([97, 90], "from 90 to 97; expected"),
    ],
)
def test_lengths_that_do_not_fit_are_refused(config, lengths, message):
    with pytest.raises(ConfigError, match=message):
        built(config)(torch.randn(2, N_FRAMES, N_MELS), torch.tensor(lengths))


def test_models_export_whole(member):
    x = inputs(member)
    program = torch.export.export(member, (x,))
    torch.testing.assert_close(program.module()(x), member(x))


def test_models_compile_whole(member):
    """In one graph, without breaks; the graph is then run as it is, as to compile it takes long."""
    torch.compiler.reset()  # of one function, which forward is for many models, it keeps 8 forms
    x = inputs(member)
    compiled = torch.compile(member, fullgraph=True, backend="eager")
    with torch.inference_mode():
        torch.testing.assert_close(compiled(x), member(x))


def test_a_scan_model_compiles_whole_with_its_gradients():
    model = small("aum_tiny").build()
    x = inputs(model)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    found, expected = (
        torch.autograd.grad(run(x).square().sum(), [*model.parameters()])
        for run in (compiled, model)
    )
    torch.testing.assert_close(found, expected)


def test_unknown_names_offer_near_ones():
    with pytest.raises(UnknownNameError, match="unknown model 'aum_tin'; did you mean aum_tiny"):
        models.create("aum_tin")
    with pytest.raises(UnknownNameError, match="'dept'; did you mean depth"):
        models.create("aum_tiny", dept=3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depth": 0}, "AuMConfig.depth is 0; expected a whole number of at least 1"),
        ({"depth": True}, "depth is True"),
        ({"direction": "bi-fo"}, "expected 'fo-fo' or 'fo-bi' or 'bi-bi'"),
        (
            {"patch": (16,)},
            r"patch is \(16,\); expected 2 values, each a whole number of at least 1",
        ),
        ({"stride": "x"}, "or None"),
        ({"drop_path": -0.1}, "expected a number of at least 0"),
        ({"ssm": 3}, "expected a group of settings, SSMConfig"),
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
