"""Learning rates against those that the papers' scripts set, epoch by epoch and step by step."""

import math

import pytest

from audiomamba import recipes
from audiomamba.recipes import override
from audiomamba.train.fitting.schedule import learning_rate_fraction


def test_the_schedule_rises_then_falls(recipe):
    recipe = override(recipe, ["epochs=10", "warmup_epochs=2", "final_lr_fraction=0.01"])
    fraction = learning_rate_fraction(recipe, n_steps=5)
    assert [fraction(step) for step in range(10)] == pytest.approx([i / 10 for i in range(1, 11)])
    assert fraction(10) == pytest.approx(1.0)
    assert fraction(30) == pytest.approx(0.01 + 0.99 * 0.5)
    assert fraction(40) == pytest.approx(0.01 + 0.99 * (1 + math.cos(math.pi * 0.75)) / 2)
    assert fraction(50) == pytest.approx(0.01)
    assert fraction(60) == pytest.approx(0.01)


def test_a_schedule_without_warmup_begins_at_the_top(recipe):
    assert learning_rate_fraction(override(recipe, ["warmup_epochs=0"]), 5)(0) == 1.0


def test_a_schedule_by_epoch_keeps_its_rate_within_each(recipe):
    changes = ["epochs=10", "warmup_epochs=2", "final_lr_fraction=0", "schedule.stepped=epoch"]
    fraction = learning_rate_fraction(override(recipe, changes), n_steps=5)
    rates = [fraction(step) for step in range(50)]
    assert all(rates[step] == rates[step - step % 5] for step in range(50))
    assert rates[0::5][:3] == pytest.approx([0.1, 0.6, 1.0])
    assert rates[30] == pytest.approx((1 + math.cos(math.pi / 2)) / 2)


def rates(name: str, n_steps: int) -> list[float]:
    """The learning rate at every step of a recipe's run with so many steps in an epoch."""
    recipe = recipes.get(name)
    fraction = learning_rate_fraction(recipe, n_steps)
    return [recipe.learning_rate * fraction(step) for step in range(recipe.epochs * n_steps)]


# Learning rates of the epochs, from the scripts' milestones.
BY_EPOCH = {
    "audioset": [1e-5, 1e-5, 5e-6, 2.5e-6, 1.25e-6],
    "audioset20k": [5e-5] * 10 + [2.5e-5] * 5 + [1.25e-5] * 5 + [6.25e-6] * 5,
    "vggsound": [1e-5] * 5 + [1e-5 * 0.75 ** (1 + i // 2) for i in range(15)],
    "voxceleb1": [1e-5] * 5 + [1e-5 * 0.75 ** (1 + i // 2) for i in range(15)],
    "speech_commands": [2.5e-4] * 5 + [2.5e-4 * 0.85 ** (1 + i) for i in range(25)],
    "epic_sounds": [1e-5] * 30,
}
N_WARM_STEPS = {"epic_sounds": 4000, "speech_commands": 0}


@pytest.mark.parametrize("corpus", BY_EPOCH)
def test_each_epoch_has_the_papers_rate(corpus):
    n_steps = 2000
    found = rates(f"{corpus}/aum-base", n_steps)
    expected = [rate for rate in BY_EPOCH[corpus] for _ in range(n_steps)]
    warm = N_WARM_STEPS.get(corpus, 1000)
    assert found[warm:] == pytest.approx(expected[warm:], rel=1e-12)


@pytest.mark.parametrize("corpus", ["audioset", "audioset20k", "vggsound", "voxceleb1"])
def test_the_warmup_sets_the_rate_every_50_of_1000_steps(corpus):
    recipe = recipes.get(f"{corpus}/aum-base")
    highest, rate, expected = recipe.learning_rate, math.nan, []
    for step in range(1100):
        if step <= 1000 and step % 50 == 0:
            rate = step / 1000 * highest
        expected.append(rate)
    assert rates(f"{corpus}/aum-base", 2000)[:1100] == pytest.approx(expected, rel=1e-12)
    assert expected[:50] == [0.0] * 50


def test_epic_sounds_warms_up_for_two_epochs_from_a_hundredth():
    found = rates("epic_sounds/ast-base", 100)
    expected = [1e-5 * (0.01 + 0.99 * step / 200) for step in range(200)]
    assert found[:200] == pytest.approx(expected, rel=1e-12)


def test_speech_commands_begins_at_the_top():
    assert rates("speech_commands/aum-base", 10)[0] == 2.5e-4


@pytest.mark.parametrize(
    ("name", "shares"), [("htsat-tiny", (0.02, 0.05, 0.1)), ("audiomamba-tiny", (0.05, 0.1, 0.2))]
)
def test_htsat_rises_falls_and_ends_as_its_code_says(name, shares):
    found = rates(f"audioset/{name}", 1)
    low, middle, high = (1e-3 * share for share in shares)
    late = [max(low * 0.98**epoch, 3e-5) for epoch in range(31, 100)]
    expected = [low, middle, high] + [high] * 8 + [middle] * 10 + [low] * 10 + late
    assert len(found) == 100
    assert found == pytest.approx(expected, rel=1e-12)
