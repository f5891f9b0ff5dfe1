import pytest
import torch

from audiomamba import models
from audiomamba.errors import ConfigError
from audiomamba.models.layers.mel_image import fold_time, unfold_time

SMALL = {"n_classes": 3, "image_size": 32, "n_mels": 16, "dim": 8, "depths": (1, 1), "window": 2}
LONGEST = 64


def model(**changes) -> models.HTSAT:
    torch.manual_seed(0)
    return models.create("htsat_tiny", **SMALL | {"n_heads": (2, 2)} | changes).eval()


def features(frames: int, batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, frames, 16, generator=torch.Generator().manual_seed(frames))


def test_chunks_of_time_lie_one_below_the_other():
    frames, mels = torch.meshgrid(torch.arange(12.0), torch.arange(2.0), indexing="ij")
    image = fold_time((10 * frames + mels)[None], size=6, n_chunks=2)[0, 0]
    # size / n_chunks is 3: two bands are stretched to three, the middle one between them.
    assert image[0].tolist() == [0, 10, 20, 30, 40, 50]
    assert image[2].tolist() == [1, 11, 21, 31, 41, 51]
    assert image[3].tolist() == [60, 70, 80, 90, 100, 110]


def test_unfolding_gives_back_the_line_of_time():
    whole = features(64)
    image = fold_time(whole, size=32, n_chunks=2)
    torch.testing.assert_close(unfold_time(image.movedim(1, 3), 2)[..., 0].mT, whole)


def test_a_short_clip_is_stretched_over_the_whole_image():
    ramp = torch.linspace(0, 1, 11)[None, :, None].expand(1, 11, 16)
    line = unfold_time(fold_time(ramp, 32, 2).movedim(1, 3), 2)[0, 0, :, 0]
    torch.testing.assert_close(line, torch.linspace(0, 1, 64), atol=0.02, rtol=0)
    assert (line[0], line[-1]) == (0, 1)


def test_too_much_for_an_image_is_refused():
    with pytest.raises(ConfigError, match="65 frames and 16 mel bands; expected at most 64 and 16"):
        fold_time(features(65), 32, 2)
    with pytest.raises(ConfigError, match="expected at most 64 and 16"):
        model().forward_intermediates(features(65))


def test_repeating_a_short_clip_is_reading_it_several_times():
    short, repeating = features(16), model(short_clips="repeat")
    torch.testing.assert_close(repeating(short), model()(short.repeat(1, 4, 1)))
    assert not torch.allclose(repeating(short), model()(short))


@pytest.mark.parametrize("frames", [LONGEST + 1, 2 * LONGEST, 2 * LONGEST + 2, 9 * LONGEST])
def test_long_clips_of_one_sound_score_as_the_sound(frames):
    steady, one = torch.ones(1, frames, 16), torch.ones(1, LONGEST, 16)
    for how in ("probabilities", "logits"):
        averaging = model(crop_average=how)
        torch.testing.assert_close(averaging(steady), averaging(one), atol=1e-5, rtol=0)


def test_the_average_over_crops_is_that_of_probabilities_or_of_logits():
    long = features(129)
    crops = [long[:, start : start + 64] for start in (0, 32)]
    logits = torch.stack([model()(crop) for crop in crops])
    torch.testing.assert_close(model()(long).sigmoid(), logits.sigmoid().mean(0))
    torch.testing.assert_close(model(crop_average="logits")(long), logits.mean(0))


def test_extreme_logits_survive_the_average():
    long, sure = features(129), model()
    with torch.no_grad():
        sure.head.conv.bias.copy_(torch.tensor([-300.0, 0.0, 300.0]))
    found = sure(long)
    assert found.isfinite().all()
    assert (found[:, 0] < -200).all()
    assert (found[:, 2] > 200).all()


def test_training_reads_another_crop_of_each_clip():
    training = model().train()
    training.bn0.eval()  # else a clip's values depend on the others
    place = torch.arange(1000.0)[None, :, None].expand(4, 1000, 16)
    images = []
    training.patch_embed.register_forward_pre_hook(lambda _, inputs: images.append(inputs[0]))
    training(place)
    lines = unfold_time(images[0].movedim(1, 3), 2)[:, 0, :, 0]
    torch.testing.assert_close(lines.diff(dim=1), torch.ones(4, 63), atol=1e-2, rtol=0)
    assert len(lines[:, 0].unique()) > 1


@pytest.mark.parametrize(("frames", "n_images"), [(10, 1), (64, 1), (65, 2), (200, 4)])
def test_steps_cover_a_clip_of_any_length(frames, n_images):
    found = model().frame_logits(features(frames))
    assert found.shape == (2, n_images * 8, 3)
    assert model().tokens(features(frames)).shape == (2, n_images * 16, 16)


def test_steps_run_along_time():
    loud = features(64).mul(0.01)
    loud[:, 40:48] += 5.0
    quiet = model().frame_logits(features(64).mul(0.01))
    changed = (model().frame_logits(loud) - quiet).abs().amax(dim=(0, 2)) > 1e-6
    # Of 8 steps of 8 frames: the fifth, its window, and what the head looks at beside them.
    assert changed.nonzero().flatten().tolist() == [3, 4, 5, 6]


def test_maps_halve_and_say_their_stride():
    maps = model().forward_intermediates(features(64))
    assert [(tuple(one.map.shape), one.stride) for one in maps] == [
        ((2, 8, 8, 8), 4),
        ((2, 16, 4, 4), 8),
    ]


@pytest.mark.parametrize("head", ["token-semantic", "linear"])
def test_either_head_can_be_replaced(head):
    other = model(head=head)
    other.reset_head(7)
    assert other(features(64)).shape == (2, 7)
    assert other.config.n_classes == 7


def test_the_linear_head_scores_the_mean_token():
    linear = model(head="linear")
    x = features(50)
    torch.testing.assert_close(linear(x), linear.head(linear.embed(x)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_mels": 33}, "33 mel bands do not fit an image of 32 rows"),
        ({"n_mels": 10}, "expected image_size // n_mels to divide image_size"),
        ({"n_mels": 4}, "in 8 chunks cannot be shrunk 8 times"),
    ],
)
def test_sizes_must_fit(changes, message):
    with pytest.raises(ConfigError, match=message):
        model(**changes)


@pytest.mark.parametrize("changes", [{}, {"short_clips": "repeat"}, {"head": "linear"}])
@pytest.mark.parametrize("lengths", [[64, 20, 64], [10, 130, 65, 20]])
def test_clips_of_one_image_and_of_several_share_a_batch(lengths, changes):
    one, x = model(**changes), features(130, batch=len(lengths))
    for clip, length in zip(x, lengths, strict=True):
        clip[length:] = torch.nan
    for method in (one, one.embed, one.tokens, one.frame_logits, one.frame_embeddings):
        for clip, length, found in zip(x, lengths, method(x, torch.tensor(lengths)), strict=True):
            expected = method(clip[None, :length])[0]
            torch.testing.assert_close(found[: len(expected)], expected, rtol=1e-5, atol=1e-6)


def test_steps_of_a_repeated_clip_are_those_of_the_first_time():
    repeating, clip = model(short_clips="repeat"), features(16)
    steps = repeating.frame_steps(16)
    assert (steps.count, steps.n_frames) == (2, 8)
    assert model().frame_steps(64).n_frames == 8
    expected = model().frame_logits(clip.repeat(1, 4, 1))[:, : steps.count]
    torch.testing.assert_close(repeating.frame_logits(clip)[:, : steps.count], expected)


def test_a_linear_head_scores_steps_by_the_mean_of_their_bins():
    linear, x = model(head="linear", image_size=64), features(128)
    torch.testing.assert_close(linear.frame_logits(x).mean(dim=1), linear(x))
