import pytest
import torch

from audiomamba.recipes import Distillation
from audiomamba.train.fitting.losses import soften, with_teachers

LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.0, 3.0, -2.0]])
TEACHER = torch.tensor([[1.0, 0.0, -3.0], [0.5, 0.5, 4.0]])


def test_the_divergence_is_hand_computed_at_the_temperature():
    settings = Distillation(weight=0.25, temperature=2.0)
    taught = soften(TEACHER, "ce", 2.0)
    p = (TEACHER.double() / 2).exp()
    p /= p.sum(dim=1, keepdim=True)
    q = (LOGITS.double() / 2).exp()
    q /= q.sum(dim=1, keepdim=True)
    divergence = (p * (p / q).log()).sum(dim=1).mean()
    found = with_teachers(torch.tensor(5.0), LOGITS, taught, "ce", settings)
    assert found.item() == pytest.approx(0.75 * 5 + 0.25 * 4 * divergence.item(), rel=1e-5)


def test_the_binary_cross_entropy_softens_the_teachers_alone():
    settings = Distillation(weight=0.25, temperature=2.0)
    taught = soften(TEACHER, "bce", 2.0)
    p, q = (TEACHER.double() / 2).sigmoid(), LOGITS.double().sigmoid()
    entropy = -(p * q.log() + (1 - p) * (1 - q).log()).mean()
    found = with_teachers(torch.tensor(5.0), LOGITS, taught, "bce", settings)
    assert found.item() == pytest.approx(0.75 * 5 + 0.25 * entropy.item(), rel=1e-5)


@pytest.mark.parametrize("loss", ["bce", "ce"])
def test_the_weight_shares_out_the_loss(loss):
    taught = soften(TEACHER, loss, 1.0)
    alone = with_teachers(torch.tensor(5.0), LOGITS, taught, loss, Distillation(weight=0))
    all_teachers = [
        with_teachers(torch.tensor(labels), LOGITS, taught, loss, Distillation(weight=1))
        for labels in (5.0, 7.0)
    ]
    assert alone.item() == 5.0
    assert all_teachers[0] == all_teachers[1] < 5.0


def test_a_student_that_says_the_same_has_nothing_to_learn():
    student = TEACHER.clone().requires_grad_()
    taught = soften(TEACHER, "ce", 3.0)
    settings = Distillation(weight=1, temperature=3)
    loss = with_teachers(torch.tensor(5.0), student, taught, "ce", settings)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert student.grad.abs().max() < 1e-6


def test_sums_that_are_rounded_above_one_give_a_finite_loss():
    taught = torch.tensor([[1.0, 1e-6, 0.0]])
    settings = Distillation(weight=1)
    assert with_teachers(torch.tensor(0.0), LOGITS[:1], taught, "ce", settings).isfinite()


def test_clips_of_which_teachers_say_nothing_ask_for_even_scores():
    settings = Distillation(weight=1)
    found = with_teachers(torch.tensor(0.0), LOGITS[:1], torch.zeros(1, 3), "ce", settings)
    q = LOGITS[0].double().softmax(dim=0)
    assert found.item() == pytest.approx((1 / 3 * (1 / 3 / q).log()).sum().item(), rel=1e-5)
