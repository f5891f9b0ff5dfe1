"""Sound segmented in time and frequency."""

import pytest
import torch

from audiomamba import vision
from audiomamba.errors import ConfigError
from audiomamba.vision.data.mixtures import FRONT_END, LABELS, draw_mixture, loudest, mixtures
from audiomamba.vision.sounds import patches, segment_sound
from audiomamba.vision.training.recipes import RECIPES


def test_a_mixture_is_always_the_same_and_its_parts_add_up() -> None:
    features, classes = mixtures(3, seed=5)[1]
    again, _ = mixtures(2, seed=5)[1]
    assert torch.equal(features, again)
    assert features.shape == (FRONT_END.n_frames, FRONT_END.n_mels)
    assert classes.shape == (FRONT_END.n_mels, FRONT_END.n_frames)


def test_the_loudest_sound_has_the_cell() -> None:
    sounds, kinds = draw_mixture(3)
    assert len(sounds) > 2
    alone = loudest(sounds[:2], kinds[:2])
    assert set(alone.unique().tolist()) == {0, int(kinds[1])}
    # A sound that is a thousand times as loud as the others has all that it had alone.
    louder = sounds.clone()
    louder[1] *= 1000
    kinds = torch.tensor([0, 3, *[1] * (len(sounds) - 2)])
    assert (loudest(louder, kinds)[alone > 0] == 3).all()
    # A copy beside it is as loud: none of the two is louder than the other.
    assert not loudest(torch.stack([sounds[0], sounds[1], sounds[1]]), kinds[[0, 1, 1]]).any()


def test_every_kind_of_sound_occurs() -> None:
    found = torch.cat([mixtures(20)[index][1].flatten() for index in range(20)])
    assert (found.bincount(minlength=len(LABELS)) > 1000).all()


def test_patches_are_where_the_classes_are() -> None:
    classes = torch.zeros(128, 300, dtype=torch.long)
    classes[40:60, 100:200] = 1
    classes[90:100, 150:154] = 2  # too short
    [found] = patches(classes, list(LABELS), FRONT_END)
    assert (found.label, found.start_s, found.end_s) == ("tone", 1.0, 2.0)
    # Bands 40 to 59 of 128 on Kaldi's mel scale from 20 Hz to 8 kHz.
    assert found.low_hz == pytest.approx(874, abs=1)
    assert found.high_hz == pytest.approx(1617, abs=1)


def test_long_sounds_are_read_in_windows() -> None:
    recipe = RECIPES["sounds/segment"]
    torch.manual_seed(0)
    changes = {**recipe.changes, "dim": 16, "aux_dim": 16}
    model = vision.create(recipe.model, n_classes=4, **changes).eval()
    assert isinstance(model, vision.Segmenter)
    samples = draw_mixture(0)[0].sum(dim=0)
    features, classes = segment_sound(model, samples, FRONT_END)
    with torch.inference_mode():
        whole = model(features[None])[0].argmax(dim=0)
    assert torch.equal(classes, whole)  # one window covers it
    features, classes = segment_sound(model, samples.repeat(3)[:-1000], FRONT_END)
    assert classes.shape == features.T.shape


def test_a_model_of_images_is_refused() -> None:
    model = vision.create("mambaout_femto_upernet", n_classes=4)
    assert isinstance(model, vision.Segmenter)
    with pytest.raises(ConfigError, match="reads images"):
        segment_sound(model, torch.zeros(16_000), FRONT_END)
