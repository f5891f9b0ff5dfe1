import torch

from audiomamba import models


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
