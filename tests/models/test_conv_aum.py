import pytest
import torch

from audiomamba import models
from audiomamba.ops import chunking


def conv_aum(**changes) -> models.ConvAuM:
    torch.manual_seed(0)
    size = {"n_classes": 3, "n_mels": 32, "dim": 16, "stem": (4, 6, 8), "drop_path": 0.0}
    return models.create("conv_aum_tiny", **size | changes).eval()


def test_tokens_come_back_in_rows_of_frequency_whatever_the_depth():
    x = torch.randn(1, 80, 32)
    for depth in (1, 2, 3):
        model = conv_aum(depth=depth)
        for layer in model.layers:
            torch.nn.init.zeros_(layer.mixer.out_proj.weight)
        image = model.stem(x.transpose(1, 2).unsqueeze(1)) + model.pos_embed
        expected = torch.nn.functional.rms_norm(
            image.flatten(2).transpose(1, 2), (16,), model.norm_f.weight, 1e-5
        )
        torch.testing.assert_close(model.tokens(x), expected)


def test_every_second_block_reads_along_frequency():
    model = conv_aum(depth=2)
    shapes = []
    for layer in model.layers:
        layer.register_forward_pre_hook(lambda _module, inputs: shapes.append(inputs[0].clone()))
    torch.nn.init.zeros_(model.layers[0].mixer.out_proj.weight)
    residuals = []
    model.layers[1].register_forward_pre_hook(lambda _module, inputs: residuals.append(inputs[1]))
    model(torch.randn(1, 48, 32))
    by_row = shapes[0].unflatten(1, (2, 3))
    torch.testing.assert_close(residuals[0].unflatten(1, (3, 2)), by_row.transpose(1, 2))


def test_any_number_of_frames_is_read():
    model = conv_aum()
    for frames in (1, 15, 16, 17, 500):
        assert torch.isfinite(model(torch.randn(2, frames, 32))).all()


def test_training_takes_its_statistics_from_the_clips_alone():
    lengths, x = torch.tensor([80, 33]), torch.randn(2, 80, 32)
    found = []
    for padding in (0.0, torch.nan):
        model = conv_aum().train()
        x[1, 33:] = padding
        logits = model(x, lengths)
        logits.sum().backward()
        grads = [p.grad for p in model.parameters()]
        found.append([logits, *grads, *model.buffers()])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    norm, alike = (conv_aum().train().stem[0] for _ in range(2))
    norm(x.transpose(1, 2).unsqueeze(1), lengths)
    columns = [alike[0](clip[:n].T[None, None]) for clip, n in zip(x, lengths, strict=True)]
    alike[1](torch.cat(columns, dim=3))
    torch.testing.assert_close(norm[1].running_var, alike[1].running_var)


@pytest.mark.parametrize("lengths", [None, [1000, 999, 333]])
@pytest.mark.parametrize("name", ["conv_aum_tiny", "cnn_small"])
def test_a_long_map_is_convolved_in_chunks(name, lengths, monkeypatch):
    small = {"conv_aum_tiny": {"stem": (4, 6, 8), "dim": 16}, "cnn_small": {"widths": (4, 6, 8, 8)}}
    model = models.create(name, n_mels=32, **small[name]).eval()
    stack = model.stem if name == "conv_aum_tiny" else model.layers
    x = torch.randn(3, 1, 32, 1000)
    columns = None if lengths is None else torch.tensor(lengths)
    with torch.no_grad():
        expected = stack(x, columns)
        for columns_at_once in (16, 64, 480):
            monkeypatch.setattr(chunking, "CHUNK_COLUMNS", columns_at_once)
            found = stack(x, columns)
            n_own = [63, 63, 21] if lengths else [63] * 3
            for one, other, n in zip(found, expected, n_own, strict=True):
                torch.testing.assert_close(one[..., :n], other[..., :n], rtol=1e-5, atol=1e-6)
