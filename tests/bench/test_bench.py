"""The benchmarks, end to end on the smallest sizes, and the arithmetic on known numbers."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from audiomamba.bench import cases, memory, peers, plots, record, runner
from audiomamba.bench.build import build
from audiomamba.bench.implementation import Implementation
from audiomamba.bench.record import Times
from audiomamba.cli import app
from audiomamba.errors import BackendError, ConfigError, DataError, UnknownNameError

TINY_SCAN = cases.ScanCase(
    implementations=("torch", "reference", "loop over full arrays"),
    tokens=9,
    channels=64,
    n_rounds=3,
)
TINY_GRADIENTS = replace(TINY_SCAN, direction="forward and backward")
TINY_CASES = [
    TINY_SCAN,
    TINY_GRADIENTS,
    cases.ConvCase(implementations=("cpu", "F.conv1d and F.silu"), tokens=5, channels=32),
    cases.ConvCase(
        implementations=("cpu", "F.conv1d and F.silu"),
        tokens=5,
        channels=32,
        dtype="bfloat16",
        direction="forward and backward",
    ),
    cases.NormCase(
        implementations=("cpu", "addition and F.rms_norm"),
        tokens=5,
        channels=32,
        direction="forward and backward",
    ),
    cases.SilenceCase(implementations=("noise", "silence", "large steps"), tokens=20, channels=32),
    cases.ModelCase(implementations=("aum_tiny", "ast_tiny"), tokens=17),
    cases.TrainingCase(implementations=("aum_tiny", "ast_tiny"), tokens=17),
    cases.PartsCase(
        model="aum_tiny",
        implementations=("whole", "linear layers", "scan", "conv", "norm"),
        tokens=17,
    ),
    cases.PartsCase(
        model="ast_tiny",
        implementations=("whole", "linear layers", "attention", "norm", "gelu"),
        tokens=17,
    ),
    cases.CrossScanCase(implementations=("cpu", "torch", "reference"), side_length=3, channels=32),
    cases.BlockCase(implementations=("SS2D block", "Swin block"), side_length=8, channels=48),
    cases.VisionCase(implementations=("vim_tiny", "deit_tiny"), image_side=64),
    cases.VisionCase(implementations=("vim_tiny", "deit_tiny"), image_side=64, head="upernet"),
]
QUIET = runner.Settings(measure_memory=False)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def bench(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["bench", *map(str, arguments)])


# Cases


def test_every_case_names_implementations_once_and_stands_in_the_group_of_its_kind() -> None:
    for name, group in cases.GROUPS.items():
        assert group
        for case in group:
            assert case.group == name
            assert len(set(case.implementations)) == len(case.implementations) > 1


def test_cases_of_a_group_differ_by_more_than_their_implementations() -> None:
    for group in cases.GROUPS.values():
        found = [(tuple(case.settings().items()), case.implementations[0]) for case in group]
        assert len(set(found)) == len(found)


def test_a_quick_run_has_the_first_case_of_each_group() -> None:
    quick = cases.select(quick=True)

    assert [case.group for case in quick] == list(cases.GROUPS)
    assert [case.settings() for case in quick] == [
        group[0].settings() for group in cases.GROUPS.values()
    ]


def test_an_unknown_group_is_named_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="'modles'; did you mean models"):
        cases.select(["modles"])


# Running


@pytest.mark.parametrize(
    "case", TINY_CASES, ids=lambda case: f"{case.group}-{case.implementations[0]}"
)
def test_every_kind_of_case_runs_and_its_implementations_agree(case: cases.Case) -> None:
    results = list(runner.run(case, QUIET))

    assert [one.implementation for one in results] == list(case.implementations)
    for one in results:
        assert one.error is None
        assert one.missing is None
        assert one.median_ms is not None
        assert one.base == case.implementations[0]
        assert one.n >= 3
    assert results[0].ratio == 1


def test_rates_are_counted_where_there_is_a_recurrence() -> None:
    settings = replace(QUIET, exponentials_per_s=1e9)

    first = next(runner.run(TINY_SCAN, settings))

    assert first.median_ms is not None
    assert first.updates_per_s == pytest.approx(2 * 9 * 64 * 16 / (first.median_ms / 1000))
    assert first.share_of_exponentials == pytest.approx(first.updates_per_s / 1e9)


def test_an_implementation_that_is_wrong_is_told_and_not_timed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def build_wrong(case: cases.Case, name: str, device: str) -> Implementation:
        implementation = build(case, name, device)
        if name != "reference":
            return implementation
        return replace(implementation, call=lambda: tuple(1.01 * x for x in implementation.call()))

    monkeypatch.setattr(runner, "build", build_wrong)

    found = {one.implementation: one for one in runner.run(TINY_SCAN, QUIET)}

    assert found["reference"].error == "wrong: off by 0.01 of the right result's root mean square"
    assert found["reference"].median_ms is None
    assert found["torch"].error is None


def test_a_peer_that_is_missing_is_named_and_the_others_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(peers, "find_spec", lambda _: None)
    case = replace(TINY_SCAN, implementations=("mambapy", "transformers", "torch", "reference"))

    found = {one.implementation: one for one in runner.run(case, QUIET)}

    assert found["mambapy"].missing == "not installed: mambapy"
    assert found["transformers"].missing == "not installed: transformers"
    assert found["torch"].base == "torch"
    assert found["reference"].n == 3


@pytest.mark.parametrize("name", ["transformers", "mambapy"])
@pytest.mark.filterwarnings("default")
def test_peers_scan_as_we_do(name: str) -> None:
    pytest.importorskip(name, reason=f"{name} is not installed")
    case = replace(TINY_GRADIENTS, implementations=("reference", name))

    assert [one.error for one in runner.run(case, QUIET)] == [None, None]


@pytest.mark.filterwarnings("default")
def test_the_ast_of_transformers_computes_what_ours_does() -> None:
    pytest.importorskip("transformers", reason="transformers is not installed")
    implementation = build(
        cases.ModelCase(implementations=("transformers tiny",), tokens=17),
        "transformers tiny",
        "cpu",
    )
    assert implementation.pair is not None

    assert runner.difference(*implementation.pair()) < 1e-5


def test_models_without_a_whole_number_of_patches_are_refused() -> None:
    with pytest.raises(ConfigError, match="18 tokens were asked for"):
        build(cases.ModelCase(implementations=("aum_tiny",), tokens=18), "aum_tiny", "cpu")


def test_memory_is_that_of_one_call_beyond_its_inputs() -> None:
    tokens, channels = 512, 1024
    case = cases.NormCase(
        implementations=("addition and F.rms_norm",), tokens=tokens, channels=channels
    )

    found = memory.peak_mib(case, case.implementations[0], "cpu", None)

    if found is None:
        pytest.skip("this system does not tell the peak of a process")
    outputs_mib = 2 * tokens * channels * 4 / 2**20  # the normed sum and the sum
    assert outputs_mib <= found < 2.5 * outputs_mib


# Arithmetic


def test_medians_quartiles_and_ratios_of_known_times() -> None:
    result = record.Result(group="scan", case={}, implementation="a", base="b")

    found = result.with_times(
        Times([0.005, 0.001, 0.003, 0.002, 0.004], [0.006] * 5), Times([0.001, 0.002], [0.001] * 2)
    )

    assert found.median_ms == pytest.approx(3)
    assert found.quartiles_ms == pytest.approx((2, 4))
    assert found.cpu_ms == pytest.approx(6)
    assert found.n == 5
    assert found.ratio == pytest.approx(2)


def test_a_single_time_has_no_quartiles() -> None:
    assert record.quartiles([1.0]) is None


def test_implementations_take_turns_in_alternating_order() -> None:
    order: list[str] = []
    calls = {name: lambda name=name: order.append(name) for name in "abc"}

    times = runner.take_turns(calls, 3)

    assert "".join(order) == "abc" + "cba" + "abc"
    assert [len(found.wall_s) for found in times.values()] == [3, 3, 3]


def test_the_difference_is_relative_and_sees_nan_and_shapes() -> None:
    ones = torch.ones(4)

    assert runner.difference([1.1 * ones], [ones]) == pytest.approx(0.1)
    assert runner.difference([ones, ones], [ones, 2 * ones]) == pytest.approx(0.5)
    assert runner.difference([ones[:3]], [ones]) == float("inf")
    assert runner.difference([float("nan") * ones], [ones]) == float("inf")


# The command line, the record and the pictures


def test_a_quick_run_writes_lines_that_can_be_compared_and_drawn(tmp_path: Path) -> None:
    file, folder = tmp_path / "run.jsonl", tmp_path / "pictures"

    done = bench("norm", "ss2d", "--quick", "--threads", 1, "--out", file)

    assert done.exit_code == 0, done.output
    assert "addition and F.rms_norm" in done.stdout
    lines = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    assert [line["side"] for line in lines] == [
        "cpu",
        "addition and F.rms_norm",
        *cases.GROUPS["ss2d"][0].implementations,
    ]
    for line in lines:
        assert line["threads"] == 1
        assert line["device"] == "cpu"
        assert line["versions"]["torch"] == torch.__version__
        assert line["median_ms"] > 0

    shown = bench("--compare", file, file, "--out", folder)

    assert shown.exit_code == 0, shown.output
    assert "1.00" in shown.stdout
    for name in ("norm.svg", "norm-memory.svg", "ss2d.svg"):
        assert "<svg" in (folder / name).read_text("utf-8")


def test_an_implementation_that_is_wrong_ends_with_exit_code_1(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runner, "TOLERANCES", {"float32": -1.0})
    monkeypatch.setitem(cases.GROUPS, "scan", (TINY_SCAN,))

    done = bench("scan", "--threads", 1)

    assert done.exit_code == 1
    assert "wrong: off by" in done.stdout


def test_cases_are_listed_without_being_run() -> None:
    done = bench("scan", "--list")

    assert done.exit_code == 0
    assert len(done.stdout.splitlines()) == 1 + len(cases.GROUPS["scan"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("scam",), "did you mean scan"),
        (("--compare",), "--compare was given no file"),
        (("scan", "--device", "tpu"), "expected cpu or cuda"),
        (("scan", "--instruction-set", "mmx"), "unknown instruction set 'mmx'"),
    ],
)
def test_a_wrong_call_is_told_in_one_line(arguments: tuple[str, ...], message: str) -> None:
    done = bench(*arguments)

    assert done.exit_code == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_file_that_holds_no_results_is_named(tmp_path: Path) -> None:
    file = tmp_path / "other.jsonl"
    file.write_text('{"kind": "other"}\n', "utf-8")

    with pytest.raises(DataError, match=r"other\.jsonl, line 1 is no result"):
        record.read(file)


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    result = record.Result(
        group="scan",
        case={"tokens": 9},
        implementation="a",
        base="a",
        median_ms=1.5,
        machine={"device": "cpu"},
    )
    file = tmp_path / "run.jsonl"
    file.write_text(record.to_json(result), "utf-8")

    assert record.read(file) == [result]


def test_runs_are_compared_side_by_side() -> None:
    first = record.Result(
        group="scan",
        case={"tokens": 9},
        implementation="a",
        base="a",
        median_ms=2.0,
        n=1,
        ratio=1.0,
    )
    second = first.changed(median_ms=3.0)
    third = first.changed(implementation="b")

    rows = plots.compare([[first], [second], [third]])

    assert rows[1][3:] == ("2.00", "3.00", "1.50", "-", "-")


def test_a_backend_that_cannot_run_is_a_missing_implementation() -> None:
    with pytest.raises(BackendError, match="does not run on meta"):
        build(cases.NormCase(implementations=("cpu",)), "cpu", "meta")


def test_files_call_an_implementation_a_side(tmp_path: Path) -> None:
    result = record.Result(group="scan", case={"tokens": 9}, implementation="a", base="b")
    file = tmp_path / "results.jsonl"
    file.write_text(record.to_json(result), "utf-8")
    assert json.loads(file.read_text("utf-8"))["side"] == "a"
    assert record.read(file) == [result]
