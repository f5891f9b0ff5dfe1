"""What `audiomamba bench` does: run cases one after another, or put recorded runs side by side."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO

import torch

from audiomamba.bench import machine, plots, record, runner
from audiomamba.bench.cases import Case, select
from audiomamba.bench.gpu_cases import groups_of
from audiomamba.errors import BackendError, ConfigError
from audiomamba.ops import native
from audiomamba.terminal import format_table

__all__ = ["compare", "listed", "measure"]

TABLE_ALIGN = "<>>>>><"
Echo = Callable[[str], None]


def listed(groups: list[str], *, quick: bool, device: str) -> str:
    """List cases without running them.

    Args:
        groups: by name; all if empty.
        quick: only those of a quick run.
        device: where they would run.

    Returns:
        A line per case: group, settings, implementations.

    Raises:
        UnknownNameError: no group has such a name.
    """
    rows = [
        (case.group, record.case_text(case.settings()), " | ".join(case.implementations))
        for case in select(groups, quick=quick, among=groups_of(device))
    ]
    return format_table([("group", "case", "implementations, the base first"), *rows], "<<<")


def measure(
    cases: Iterable[Case],
    *,
    device: str,
    n_threads: int | None,
    instruction_set: str | None,
    lines: IO[str] | None,
    echo: Echo,
) -> bool:
    """Run cases and report each as soon as it is done.

    Args:
        cases: in order.
        device: "cpu" or "cuda".
        n_threads: of the processor; None for what PyTorch takes by itself.
        instruction_set: of the compiled library; None for its own choice.
        lines: where every result goes as a line of JSON; None for nowhere.
        echo: what shows the tables.

    Returns:
        Whether every implementation that could run computed what is right.

    Raises:
        ConfigError: there is no such device.
        BackendError: there is no such GPU here.
        UnknownNameError: there is no such instruction set.
    """
    if device not in ("cpu", "cuda"):
        raise ConfigError(f"the device is {device!r}; expected cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise BackendError("PyTorch finds no GPU here; run with --device cpu")
    if n_threads is not None:
        torch.set_num_threads(n_threads)
    if instruction_set is not None:
        native.use_instruction_set(instruction_set)
    limits = machine.limits(device)
    described = {**machine.describe(device), **limits}
    echo(_heading(described))
    settings = runner.Settings(
        device=device,
        instruction_set=instruction_set,
        exponentials_per_s=limits.get("exponentials_per_s"),
    )
    all_right = True
    for case in cases:
        results = [one.changed(machine=described) for one in runner.run(case, settings)]
        echo(f"\n{case.group}: {record.case_text(case.settings())}\n")
        echo(format_table(record.table(results), TABLE_ALIGN))
        if lines is not None:
            lines.writelines(record.to_json(one) for one in results)
            lines.flush()
        all_right = all_right and all(one.error is None for one in results)
    return all_right


def compare(files: list[Path], folder: Path) -> str:
    """Draw recorded runs, and lay their medians beside each other.

    Args:
        files: what runs wrote, at least one.
        folder: where the pictures go.

    Returns:
        The table, and a line per picture.

    Raises:
        ConfigError: there are no files, or the folder cannot be made.
        DataError: a file cannot be read, or holds no times.
        MissingDependencyError: matplotlib is not installed.
    """
    if not files:
        raise ConfigError("--compare was given no file; expected what --out wrote before")
    runs = [record.read(file) for file in files]
    pictures = plots.draw(runs, folder)
    rows = plots.compare(runs)
    numbered = "".join(f"{number}: {file}\n" for number, file in enumerate(files, start=1))
    drawn = "".join(f"{picture}\n" for picture in pictures)
    return f"{numbered}\n{format_table(rows, '<<<' + '>' * (len(rows[0]) - 3))}\n{drawn}"


def _heading(described: dict[str, object]) -> str:
    """The machine in two lines."""
    versions = described["versions"]
    named = versions.items() if isinstance(versions, dict) else ()
    rate = float(str(described.get("exponentials_per_s", "nan"))) / 1e9
    known = f"at most: {rate:.1f} G exponentials/s on one thread"
    if "copied_bytes_per_s" in described:
        copied = float(str(described["copied_bytes_per_s"])) / 1e9
        known = f"at most: {rate:.0f} G exponentials/s, {copied:.0f} GB/s"
    return (
        f"{described['device']}, {described['processor']}, {described['instruction_set']}, "
        f"threads {described['threads']}, "
        f"{', '.join(f'{name} {version}' for name, version in named)}, "
        f"commit {described['commit']}\n"
        f"{known}\n"
    )
