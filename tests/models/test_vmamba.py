import pytest
import torch
from torch.nn import functional as F

from audiomamba import models
from audiomamba.errors import ConfigError
from audiomamba.models.layers.downsample import PatchMerging
from audiomamba.models.layers.ss2d import SS2D
from audiomamba.models.layers.stages import VSSBlock

SIZE = {"depths": (1, 2, 1), "dims": (8, 16, 24), "n_classes": 5}


def small(name="vmamba_tiny_s2l5", **changes) -> models.VMamba:
    torch.manual_seed(0)
    return models.create(name, **SIZE | {"n_mels": 32, "n_frames": 48} | changes).eval()


def test_the_authors_defaults_have_the_authors_size():
    with torch.device("meta"):
        model = models.VMambaConfig().build()
    assert sum(weight.numel() for weight in model.parameters()) == 43_722_376


@pytest.mark.parametrize("name", ["vmamba_tiny_v0", "vmamba_tiny_s2l5", "dass_small"])
def test_stages_give_falling_maps(name):
    model = small(name)
    x = torch.randn(2, 48, 32) if name == "dass_small" else torch.randn(2, 3, 32, 48)
    stages = model.forward_intermediates(x)
    assert [stage.stride for stage in stages] == [4, 8, 16]
    for stage, dim in zip(stages, SIZE["dims"], strict=True):
        assert stage.map.shape == (2, dim, 32 // stage.stride, 48 // stage.stride)
    last = stages[-1].map.flatten(2).transpose(1, 2)
    torch.testing.assert_close(model.norm(last), model.tokens(x))


def test_rows_are_frequency_and_columns_time():
    model, image = small("dass_small"), small("dass_small", n_channels=3)
    kernel = (model.patch_embed.conv1.weight / 3).expand(-1, 3, -1, -1)
    image.load_state_dict(model.state_dict() | {"patch_embed.conv1.weight": kernel})
    x = torch.randn(1, 48, 32)
    gray = x.transpose(1, 2)[:, None].expand(-1, 3, -1, -1)
    torch.testing.assert_close(image(gray), model(x))


@pytest.mark.parametrize("crop", [True, False])
def test_merging_reads_neighbours_column_by_column(crop):
    merge = PatchMerging(3, 4, crop=crop)
    x = torch.randn(2, 5, 7, 3)
    even = x[:, :4, :6] if crop else F.pad(x, (0, 0, 0, 1, 0, 1))
    parts = [even[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
    expected = merge.reduction(merge.norm(torch.cat(parts, dim=-1)))
    torch.testing.assert_close(merge(x)[0], expected)


@pytest.mark.parametrize(
    ("changes", "rows"),
    [({"downsample": "merge"}, 3), ({"downsample": "merge-crop"}, 2), ({"downsample": "conv2"}, 2)],
)
def test_odd_sides_are_padded_or_cropped(changes, rows):
    model = small("vmamba_tiny_v0", n_channels=1, n_mels=36, **changes)
    assert model.forward_intermediates(torch.randn(1, 36, 36))[-1].map.shape[2] == rows


def test_a_gated_mlp_multiplies_its_halves():
    block = VSSBlock(6, models.VMambaConfig(mlp=models.MLPConfig(kind="gated", ratio=2.0)), 0.0)
    x = torch.randn(1, 2, 3, 6)
    value, gate = (x @ block.mlp.fc1.weight.T).split(12, dim=-1)
    torch.testing.assert_close(block.mlp(x), (value * F.gelu(gate)) @ block.mlp.fc2.weight.T)


def test_the_gate_is_the_second_half_of_the_projection():
    op = SS2D(4, models.SS2DConfig(d_state=2))
    with torch.no_grad():
        op.in_proj.weight[op.d_inner :] = 0
    assert op(torch.randn(1, 3, 3, 4)).abs().max() == 0


def test_without_convolution_there_is_none():
    op = SS2D(4, models.SS2DConfig(d_conv=1, gate=False))
    assert "conv2d.weight" not in op.state_dict()
    assert torch.isfinite(op(torch.randn(1, 3, 3, 4))).all()


def test_every_position_sees_every_other():
    op = SS2D(4, models.SS2DConfig(d_conv=1))
    x = torch.randn(1, 3, 4, 4, requires_grad=True)
    for row, column in ((0, 0), (2, 1), (2, 3)):
        (seen,) = torch.autograd.grad(op(x)[0, row, column].sum(), x)
        assert (seen.abs().sum(dim=-1) > 0).all()


def test_maps_stay_dense_with_channels_last():
    block = small().layers[0].blocks[0]
    seen = []
    for module in (block.op.conv2d, block.op.out_norm, block.mlp):
        module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    block(torch.randn(2, 6, 5, 8))
    conv, *others = seen
    assert conv.is_contiguous(memory_format=torch.channels_last)
    assert all(x.is_contiguous() for x in others)


def test_branches_are_dropped_in_training_only():
    model = small(drop_path=0.9, depths=(1, 4, 4))
    x = torch.randn(1, 3, 32, 48)
    torch.testing.assert_close(model(x), model(x))
    torch.manual_seed(0)
    assert not torch.allclose(model.train()(x), model.eval()(x))


def test_it_compiles_and_exports_whole():
    model = small("dass_small", depths=(1, 1), dims=(8, 16))
    x = torch.randn(2, 44, 32)
    program = torch.export.export(model, (x,))
    torch.testing.assert_close(program.module()(x), model(x))
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), model(x))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dims": (8, 16)}, "depths has 3 stages, dims 2"),
        ({"patch": 8}, "patch is 8; with 'convs' expected 4"),
        ({"downsample": "v3"}, "expected 'merge' or 'merge-crop'"),
        ({"mlp": 4.0}, "expected a group of settings, MLPConfig or None"),
    ],
)
def test_bad_settings_are_named(changes, message):
    with pytest.raises(ConfigError, match=message):
        small(**changes)


def test_an_even_kernel_is_refused():
    with pytest.raises(ConfigError, match="d_conv is 4; expected an odd number"):
        models.SS2DConfig(d_conv=4)


def test_too_small_an_input_is_refused():
    with pytest.raises(ConfigError, match="3 columns; expected at least 4"):
        small("dass_small")(torch.randn(1, 3, 32))
    with pytest.raises(ConfigError, match=r"images have shape \(1, 48, 32\)"):
        small()(torch.randn(1, 48, 32))
