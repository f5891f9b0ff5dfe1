import pytest
import torch

from audiomamba.errors import ConfigError
from audiomamba.ops import available_backends, cross_merge, cross_scan, cross_selective_scan
from audiomamba.ops import selective_scan as scan

CHANNELS, RANK, STATES = 6, 2, 3


def arguments(batch=2, rows=3, columns=4):
    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(shape, generator=generator)

    return {
        "u": normal(batch, rows, columns, CHANNELS),
        "dt": normal(batch, rows, columns, 4, RANK),
        "A": -normal(4 * CHANNELS, STATES).exp(),
        "B": normal(batch, rows, columns, 4, STATES),
        "C": normal(batch, rows, columns, 4, STATES),
        "dt_weight": normal(4, CHANNELS, RANK),
        "D": normal(4 * CHANNELS),
        "delta_bias": normal(4 * CHANNELS),
    }


def test_the_orders_are_rows_columns_and_their_reverses():
    x = torch.arange(6).reshape(1, 2, 3, 1)
    orders = cross_scan(x)[0, :, :, 0].T.tolist()
    assert orders == [
        [0, 1, 2, 3, 4, 5],
        [0, 3, 1, 4, 2, 5],
        [5, 4, 3, 2, 1, 0],
        [5, 2, 4, 1, 3, 0],
    ]


def test_merging_puts_everything_back_and_adds():
    x = torch.randn(2, 3, 5, 4)
    torch.testing.assert_close(cross_merge(cross_scan(x), 3, 5), 4 * x)


@pytest.mark.parametrize("size", [(3, 4), (1, 7), (7, 1), (1, 1), (9, 16)])
@pytest.mark.parametrize("backend", available_backends())
def test_it_is_four_scans_by_definition(size, backend):
    given = arguments(rows=size[0], columns=size[1])
    expected = 0
    for k in range(4):
        own, part = cross_scan, slice(k * CHANNELS, (k + 1) * CHANNELS)
        delta = given["dt"][..., k, :] @ given["dt_weight"][k].T
        y = scan(
            own(given["u"])[:, :, k],
            own(delta)[:, :, k],
            given["A"][part],
            own(given["B"][..., k, :])[:, :, k],
            own(given["C"][..., k, :])[:, :, k],
            D=given["D"][part],
            delta_bias=given["delta_bias"][part],
            delta_softplus=True,
            backend="reference",
        )
        alone = torch.zeros(*y.shape[:2], 4, CHANNELS)
        alone[:, :, k] = y
        expected = expected + cross_merge(alone, *size)
    torch.testing.assert_close(
        cross_selective_scan(**given, backend=backend), expected, rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("backend", [name for name in available_backends() if name != "reference"])
def test_backends_agree_in_outputs_and_gradients(compare, backend):
    compare(cross_selective_scan, arguments(rows=5, columns=7), {}, backend)


def wide_arguments(rows, columns, channels=70):
    """More than a chunk of tokens and than a block of channels."""
    generator = torch.Generator().manual_seed(3)

    def normal(*shape):
        return torch.randn(shape, generator=generator)

    return {
        "u": normal(2, rows, columns, channels),
        "dt": normal(2, rows, columns, 4, RANK),
        "A": -normal(4 * channels, STATES).exp(),
        "B": normal(2, rows, columns, 4, STATES),
        "C": normal(2, rows, columns, 4, STATES),
        "dt_weight": normal(4, channels, RANK),
        "D": normal(4 * channels),
        "delta_bias": normal(4 * channels),
    }


@pytest.mark.parametrize("size", [(9, 17), (17, 9), (1, 150), (150, 1)])
@pytest.mark.usefixtures("instruction_set")
def test_the_library_walks_over_large_maps(compare, size):
    compare(cross_selective_scan, wide_arguments(*size), {}, "cpu")


def test_bfloat16_maps(compare):
    given = wide_arguments(9, 17)
    given |= {name: given[name].bfloat16() for name in ("u", "dt", "B", "C", "dt_weight")}
    compare(cross_selective_scan, given, {}, "cpu", outputs=2e-2, gradients=3e-2)


def test_results_do_not_depend_on_the_number_of_threads():
    given = {name: value.requires_grad_() for name, value in wide_arguments(9, 17).items()}
    found = []
    for n_threads in (1, 2, 3):
        torch.set_num_threads(n_threads)
        out = cross_selective_scan(**given, backend="cpu")
        found.append([out, *torch.autograd.grad(out.square().sum(), list(given.values())[2:])])
    for other in found[1:]:
        assert all(map(torch.equal, found[0], other))


def test_directions_must_be_four():
    given = arguments()
    with pytest.raises(
        ConfigError, match=r"B has shape \(2, 3, 4, 3, 3\); expected \(2, 3, 4, 4\)"
    ):
        cross_selective_scan(**given | {"B": given["B"][..., :3, :]})


@pytest.mark.parametrize("backend", available_backends())
def test_what_lies_behind_a_maps_own_columns_is_passed_over(backend):
    given, columns = arguments(batch=3, columns=5), [5, 1, 3]
    found = cross_selective_scan(**given, columns=torch.tensor(columns), backend=backend)
    assert torch.isfinite(found).all()
    for n, own in enumerate(columns):
        maps = {key: given[key][n : n + 1, :, :own] for key in ("u", "dt", "B", "C")}
        expected = cross_selective_scan(**given | maps, backend=backend)[0]
        torch.testing.assert_close(found[n, :, :own], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("backend", available_backends())
def test_no_gradient_comes_from_behind_a_maps_own_columns(backend):
    given = {name: value.requires_grad_() for name, value in arguments(columns=5).items()}
    found = cross_selective_scan(**given, columns=torch.tensor([5, 2]), backend=backend)
    found[1, :, :2].square().sum().backward()
    for name in ("u", "dt", "B", "C"):
        assert not given[name].grad[1, :, 2:].any()
        assert given[name].grad[1, :, :2].any()
