import pytest
import torch
from torch import nn
from torch.optim import Adam, AdamW

from audiomamba import models, recipes
from audiomamba.recipes import override
from audiomamba.train.fitting.optimizer import new_optimizer, weight_groups


@pytest.mark.parametrize("name", ["aum_tiny", "conv_aum_tiny", "ast_tiny", "cnn_small"])
def test_weight_decay_is_on_matrices_only(name):
    with torch.device("meta"):
        model = models.create(name, n_classes=3)
    decayed, rest = weight_groups(model, 0.05)
    assert (decayed["weight_decay"], rest["weight_decay"]) == (0.05, 0.0)
    names = {id(weight): key for key, weight in model.named_parameters()}
    free = {names[id(weight)] for weight in rest["params"]}
    held = {names[id(weight)] for weight in decayed["params"]}
    assert free | held == set(names.values())
    assert not free & held
    assert all(key.endswith(".weight") for key in held)
    spared = ("bias", "A_log", "A_b_log", ".D", "pos_embed", "cls_token", "cls_token_head")
    assert all(key in free for key in names.values() if key.endswith(spared))
    assert "head.weight" in held


def test_the_optimizer_of_aums_paper_is_adam_that_decays_everything():
    with torch.device("meta"):
        model = models.create("aum_tiny", n_classes=3)
    found = new_optimizer(model, recipes.get("audioset20k/aum-base"))
    assert type(found) is Adam
    (group,) = found.param_groups
    assert (group["lr"], group["betas"], group["eps"]) == (5e-5, (0.95, 0.999), 1e-8)
    assert group["weight_decay"] == 5e-7
    assert len(group["params"]) == len(list(model.parameters()))


@pytest.mark.parametrize(
    ("optimizer", "expected"), [("adam", 1.0 - 0.1), ("adamw", 1.0 - 0.1 * 0.5)]
)
def test_adam_decays_in_the_gradient_and_adamw_beside_it(recipe, optimizer, expected):
    """Without a gradient of the loss, Adam's first step is the learning rate."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.ones_(model.weight)
    changes = [f"optimizer={optimizer}", "learning_rate=0.1", "weight_decay=0.5", "decayed=all"]
    stepped = new_optimizer(model, override(recipe, changes))
    model.weight.grad = torch.zeros(1, 1)
    stepped.step()
    assert model.weight.item() == pytest.approx(expected, rel=1e-5)


def test_by_default_it_is_adamw_on_matrices(recipe):
    model = nn.Linear(2, 2)
    found = new_optimizer(model, recipe)
    assert type(found) is AdamW
    assert [group["weight_decay"] for group in found.param_groups] == [0.05, 0.0]
