import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from audiomamba.errors import ConfigError
from audiomamba.ops import bidirectional_selective_scan, native, selective_scan
from audiomamba.ops.selective_scan import torch_chunked

Compare = Callable[..., None]
Tensors = dict[str, Tensor | None]

N_RANDOM = 40


def scan_tensors(
    batch: int,
    tokens: int,
    channels: int,
    states: int,
    groups: int = 1,
    *,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> dict[str, Tensor]:
    """Every tensor that a scan may take, B and C grouped; step sizes of about 0.01 to 1."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    decay = -torch.arange(1.0, states + 1).repeat(channels, 1)
    return {
        "u": normal(batch, tokens, channels).to(dtype),
        "delta": normal(batch, tokens, channels).to(dtype),
        "A": decay * torch.exp(0.3 * normal(channels, states)),
        "A_b": decay * torch.exp(0.3 * normal(channels, states)),
        "B": normal(batch, tokens, groups, states).to(dtype),
        "C": normal(batch, tokens, groups, states).to(dtype),
        "D": normal(channels),
        "z": normal(batch, tokens, channels).to(dtype),
        "delta_bias": normal(channels) - 2,
        "initial_state": normal(batch, channels, states),
    }


def split(tensors: dict[str, Tensor], both: bool) -> tuple[Callable[..., Tensor], Tensors]:
    """Return the op and the tensors that it takes."""
    dropped = "initial_state" if both else "A_b"
    op = bidirectional_selective_scan if both else selective_scan
    return op, {name: x for name, x in tensors.items() if name != dropped}


def options_of(both: bool, **others: object) -> dict[str, object]:
    one_way = {} if both else {"reverse": others.pop("reverse", False), "return_last_state": True}
    others.pop("reverse", None)
    return {"delta_softplus": True, **one_way, **others}


def by_hand(x: dict[str, Tensor], reverse: bool) -> tuple[list[float], float]:
    """The recurrence for one sample, one channel and one state, on floats."""
    u, delta, z = (x[name].flatten().tolist() for name in ("u", "delta", "z"))
    B, C = (x[name].flatten().tolist() for name in ("B", "C"))
    A, D, bias, state = (x[n].item() for n in ("A", "D", "delta_bias", "initial_state"))
    out = [0.0] * len(u)
    for t in reversed(range(len(u))) if reverse else range(len(u)):
        step = math.log1p(math.exp(delta[t] + bias))
        state = math.exp(step * A) * state + step * u[t] * B[t]
        out[t] = (C[t] * state + D * u[t]) * z[t] / (1 + math.exp(-z[t]))
    return out, state


@pytest.mark.parametrize("backend", ["reference", "torch", "cpu"])
@pytest.mark.parametrize("reverse", [False, True])
def test_follows_the_recurrence(backend: str, reverse: bool) -> None:
    x = scan_tensors(1, 7, 1, 1)
    op, tensors = split(x, both=False)
    options = {"delta_softplus": True, "reverse": reverse, "return_last_state": True}
    out, last_state = op(**tensors, **options, backend=backend)
    expected, state = by_hand(x, reverse)
    torch.testing.assert_close(out.flatten(), torch.tensor(expected), rtol=1e-5, atol=1e-6)
    assert last_state.item() == pytest.approx(state, rel=1e-5)


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("lengths", [None, [3, 0]])
def test_reference_gradients(both: bool, lengths: list[int] | None) -> None:
    x = {name: t.double() for name, t in scan_tensors(2, 4, 4, 2, groups=2).items()}
    op, tensors = split(x, both)
    names = list(tensors)
    chosen = None if lengths is None else torch.tensor(lengths)
    options = options_of(both, lengths=chosen, backend="reference")

    def call(*values: Tensor) -> object:
        return op(**dict(zip(names, values, strict=True)), **options)

    assert torch.autograd.gradcheck(call, [t.requires_grad_() for t in tensors.values()])


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(
    ("channels", "states", "groups"), [(48, 16, 1), (130, 8, 2), (17, 3, 17), (80, 24, 1)]
)
def test_every_instruction_set_agrees(
    both: bool,
    reverse: bool,
    channels: int,
    states: int,
    groups: int,
    instruction_set: str,
    compare: Compare,
) -> None:
    assert native.instruction_set() == instruction_set
    op, tensors = split(scan_tensors(3, 67, channels, states, groups), both)
    lengths = torch.tensor([67, 64, 5])
    compare(op, tensors, options_of(both, reverse=reverse, lengths=lengths))


@st.composite
def cases(draw: st.DrawFn) -> tuple[Callable[..., Tensor], Tensors, dict[str, object]]:
    """An op, its tensors and its options, at random."""
    batch, tokens = draw(st.integers(1, 3)), draw(st.integers(1, 300))
    channels = draw(st.sampled_from([1, 3, 17, 48, 64, 80, 130]))
    states = draw(st.sampled_from([1, 2, 3, 8, 16, 24]))
    groups = draw(st.sampled_from([g for g in (1, 2, 5, channels) if channels % g == 0]))
    both = draw(st.booleans())
    x = scan_tensors(batch, tokens, channels, states, groups, seed=draw(st.integers(0, 99)))
    op, tensors = split(x, both)
    scale = draw(st.sampled_from([1.0, 1e-3, 30.0]))
    tensors["delta"] = tensors["delta"] * scale
    for name in ("D", "z", "delta_bias", "initial_state"):
        if draw(st.booleans()):
            tensors.pop(name, None)
    for name in ("B", "C"):
        if draw(st.integers(0, 5)) == 0:
            tensors[name] = tensors[name][0, 0, :1].expand(channels, states).contiguous()
    softplus = draw(st.booleans())
    if not softplus:  # a negative step would grow without bound
        tensors["delta"] = tensors["delta"].abs()
        tensors.pop("delta_bias", None)
    lengths = draw(st.none() | st.lists(st.integers(0, tokens), min_size=batch, max_size=batch))
    options = options_of(
        both,
        reverse=draw(st.booleans()),
        lengths=None if lengths is None else torch.tensor(lengths),
        delta_softplus=softplus,
    )
    return op, tensors, options


@pytest.mark.parametrize("groups", [1, 2])
def test_a_constant_map_goes_with_any_groups(groups: int, compare: Compare) -> None:
    op, tensors = split(scan_tensors(2, 20, 4, 3, groups), both=False)
    tensors["B"] = torch.randn(4, 3)
    compare(op, tensors, options_of(both=False))


@pytest.mark.parametrize("backend", ["torch", "cpu"])
@settings(
    max_examples=N_RANDOM,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(case=cases())
def test_random_calls_agree(
    backend: str, case: tuple[Callable[..., Tensor], Tensors, dict[str, object]], compare: Compare
) -> None:
    compare(*case, backend=backend)


@pytest.mark.parametrize("tokens", [1, 15, 16, 17, 300])
def test_chunks_join_without_a_seam(tokens: int, compare: Compare) -> None:
    op, tensors = split(scan_tensors(1, tokens, 6, 4), both=False)
    assert torch_chunked._n_chunks(tensors["delta"], 4) == (1 if tokens < 16 else int(tokens**0.5))
    for reverse in (False, True):
        compare(op, tensors, options_of(both=False, reverse=reverse), backend="torch")


@pytest.mark.parametrize("tokens", [1, 2, 63, 64, 65, 127, 129])
@pytest.mark.parametrize("both", [False, True])
def test_agrees_around_chunk_boundaries(tokens: int, both: bool, compare: Compare) -> None:
    op, tensors = split(scan_tensors(1, tokens, 20, 4), both)
    compare(op, tensors, options_of(both))


@pytest.mark.parametrize("both", [False, True])
def test_agrees_over_4097_tokens(both: bool, compare: Compare) -> None:
    op, tensors = split(scan_tensors(1, 4097, 24, 16), both)
    compare(op, tensors, options_of(both))


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.usefixtures("instruction_set")
def test_bfloat16_agrees(both: bool, reverse: bool, compare: Compare) -> None:
    op, tensors = split(scan_tensors(2, 70, 40, 16, dtype=torch.bfloat16), both)
    rounding = 2.0**-8
    compare(
        op, tensors, options_of(both, reverse=reverse), outputs=rounding, gradients=2 * rounding
    )


def test_takes_column_slices_without_copies(compare: Compare) -> None:
    x = scan_tensors(2, 50, 40, 8)
    xz = torch.cat([x["u"], x["z"]], dim=-1)
    maps = torch.cat([x["delta"], x["B"].flatten(2), x["C"].flatten(2)], dim=-1)
    packed = {"xz": xz, "maps": maps, "A": x["A"]}

    def op(xz: Tensor, maps: Tensor, A: Tensor, **options: object) -> Tensor:
        u, z = xz.chunk(2, dim=-1)
        delta, B, C = maps.split([40, 8, 8], dim=-1)
        assert all(native.rows(t) is t for t in (u, z, delta, B, C))
        return selective_scan(u, delta, A, B, C, z=z, **options)

    compare(op, packed, {"delta_softplus": True})


def test_takes_any_strides(compare: Compare) -> None:
    x = scan_tensors(2, 30, 20, 4)
    channel_first = {
        name: x[name].transpose(1, 2).contiguous().transpose(1, 2) for name in ("u", "delta", "z")
    }

    def op(grad_is_expanded: Tensor, **tensors: object) -> Tensor:
        out = selective_scan(**tensors)
        return out.sum(dim=(0, 2)) * grad_is_expanded

    tensors = {n: x[n] for n in ("A", "B", "C", "D")} | channel_first
    compare(op, tensors | {"grad_is_expanded": torch.ones(1)}, {"delta_softplus": True})


def test_equals_two_scans() -> None:
    x = scan_tensors(2, 70, 24, 16)
    shared = {n: x[n] for n in ("u", "delta", "B", "C", "D", "z", "delta_bias")}
    both = bidirectional_selective_scan(A=x["A"], A_b=x["A_b"], **shared, delta_softplus=True)
    one = selective_scan(A=x["A"], **shared, delta_softplus=True)
    other = selective_scan(A=x["A_b"], **shared, delta_softplus=True, reverse=True)
    torch.testing.assert_close(both, one + other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("backend", ["reference", "torch", "cpu"])
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
def test_a_padded_sample_is_as_if_alone(backend: str, both: bool, reverse: bool) -> None:
    x = scan_tensors(2, 90, 20, 8)
    length = 37
    for name in ("u", "delta", "B", "C", "z"):
        x[name][1, length:] = math.nan
    op, tensors = split(x, both)
    options = options_of(both, reverse=reverse, backend=backend)
    alone_options = dict(options)
    options["lengths"] = torch.tensor([90, length])
    leaves = {name: t.clone().requires_grad_() for name, t in tensors.items()}
    out = op(**leaves, **options)
    alone = op(
        **{
            name: t[1:, :length]
            if t.ndim >= 3 and t.shape[1] == 90
            else t[1:]
            if name == "initial_state"
            else t
            for name, t in tensors.items()
        },
        **alone_options,
    )
    error = 1e-5 if backend == "torch" else 0  # its chunks differ
    if not both:
        torch.testing.assert_close(out[1][1:], alone[1], rtol=error, atol=error)
        out, alone = out[0], alone[0]
    torch.testing.assert_close(out[1:, :length], alone, rtol=error, atol=error)
    assert (out[1, length:] == 0).all()
    out.sum().backward()
    for name, leaf in leaves.items():
        assert torch.isfinite(leaf.grad).all(), name
        if leaf.ndim >= 3 and leaf.shape[1] == 90:
            assert (leaf.grad[1, length:] == 0).all(), name


@pytest.mark.parametrize("step", [60.0, 1e4, 1e20, -3.0])
@pytest.mark.usefixtures("instruction_set")
def test_extreme_steps_agree(step: float, compare: Compare) -> None:
    x = scan_tensors(1, 40, 20, 16)
    x["delta"][:, ::3] = step
    op, tensors = split(x, both=False)
    softplus = step > 0
    if not softplus:
        tensors["A"] = tensors["A"] * 0.01  # a growing state, within float32
    del tensors["delta_bias"]
    compare(op, tensors, options_of(both=False, delta_softplus=softplus))


@pytest.mark.parametrize("name", ["u", "delta", "A", "B", "C", "D", "z", "delta_bias"])
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.usefixtures("instruction_set")
def test_nan_in_gives_nan_out(name: str, both: bool) -> None:
    op, tensors = split(scan_tensors(1, 20, 20, 8), both)
    tensors[name].view(-1)[0] = math.nan
    out = op(**tensors, delta_softplus=True, backend="cpu")
    assert out[0, 0, 0].isnan()
    assert torch.isfinite(out[..., 1 if name not in "BC" else []]).all()


@pytest.mark.parametrize("both", [False, True])
def test_is_bitwise_the_same_on_any_number_of_threads(both: bool) -> None:
    op, tensors = split(scan_tensors(3, 150, 200, 16), both)
    results = []
    for n_threads in (1, 2, 3):
        torch.set_num_threads(n_threads)
        leaves = {name: x.clone().requires_grad_() for name, x in tensors.items()}
        out = op(**leaves, delta_softplus=True, backend="cpu")
        out.square().sum().backward()
        results.append([out, *(x.grad for x in leaves.values())])
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_inference_saves_nothing() -> None:
    op, tensors = split(scan_tensors(1, 200, 32, 16), both=False)
    leaves = {name: x.requires_grad_() for name, x in tensors.items()}
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x):
        with torch.no_grad():
            op(**leaves, backend="cpu")
        assert not kept
        op(**leaves, delta_softplus=True, backend="cpu")
    assert any(x.numel() == 4 * 16 * 32 for x in kept)


def test_gradients_flow_through_the_last_state(compare: Compare) -> None:
    def op(**tensors: object) -> Tensor:
        return selective_scan(**tensors, return_last_state=True)[1]

    _, tensors = split(scan_tensors(2, 70, 20, 8), both=False)
    compare(op, tensors, {"delta_softplus": True})


def test_can_be_cut_in_two() -> None:
    _, x = split(scan_tensors(2, 100, 20, 8), both=False)
    x = x | {"delta_softplus": True, "return_last_state": True}
    whole, end = selective_scan(**x)
    per_token = ("u", "delta", "B", "C", "z")
    first = x | {n: x[n][:, :41] for n in per_token}
    out, state = selective_scan(**first)
    second = x | {n: x[n][:, 41:] for n in per_token} | {"initial_state": state}
    rest, last = selective_scan(**second)
    torch.testing.assert_close(torch.cat([out, rest], dim=1), whole, rtol=1e-6, atol=1e-5)
    torch.testing.assert_close(last, end, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"u": torch.zeros(2, 0, 4)}, "u has shape (2, 0, 4)"),
        ({"u": torch.zeros(2, 5, 4, dtype=torch.int64)}, "u has dtype torch.int64"),
        ({"delta": torch.zeros(2, 5, 3)}, "delta has shape (2, 5, 3); expected (2, 5, 4)"),
        ({"A": torch.zeros(3, 2)}, "A has shape (3, 2); expected (4, states)"),
        ({"B": torch.zeros(2, 5, 3, 2)}, "B has shape (2, 5, 3, 2)"),
        ({"C": torch.zeros(2, 5, 3)}, "C has shape (2, 5, 3); expected (2, 5, 2)"),
        ({"D": torch.zeros(2)}, "D has shape (2,); expected (4,)"),
        ({"lengths": torch.zeros(3)}, "lengths has shape (3,); expected (2,)"),
        ({"initial_state": torch.zeros(2, 4)}, "initial_state has shape (2, 4)"),
    ],
)
def test_wrong_shapes_are_named(changes: dict[str, Tensor], message: str) -> None:
    x = scan_tensors(2, 5, 4, 2)
    tensors = {"u": x["u"], "delta": x["delta"], "A": x["A"], "B": x["B"], "C": x["C"]}
    with pytest.raises(ConfigError) as caught:
        selective_scan(**(tensors | changes))
    assert str(caught.value).startswith(message)


def test_groups_that_do_not_nest_are_named() -> None:
    _, tensors = split(scan_tensors(1, 5, 12, 2, groups=6), both=False)
    with pytest.raises(ConfigError, match="C has 4 groups"):
        selective_scan(**(tensors | {"C": torch.zeros(1, 5, 4, 2)}))


def test_a_wrong_second_decay_is_named() -> None:
    _, tensors = split(scan_tensors(1, 5, 4, 2), both=True)
    with pytest.raises(ConfigError, match="A_b has shape"):
        bidirectional_selective_scan(**(tensors | {"A_b": torch.zeros(4, 3)}))
