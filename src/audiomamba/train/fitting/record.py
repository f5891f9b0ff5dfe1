"""The record of a run, by which a later call knows whether it may resume it."""

import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch

from audiomamba.atomic import write_json
from audiomamba.audio import FrontEnd
from audiomamba.checkpoints import TransferReport
from audiomamba.errors import TrainingError
from audiomamba.provenance import commit, versions
from audiomamba.recipes import from_dict, to_dict
from audiomamba.train.run import Run, differences

__all__ = ["new_record", "open_record"]


def open_record(run: Run, plan: Mapping[str, Any], *, resume: bool) -> dict[str, Any] | None:
    """Read the record of the run that a folder holds.

    Args:
        run: the folder.
        plan: all that the result depends on; it has to be the same.
        resume: whether there may be a run.

    Returns:
        The record; None if the folder holds no run.

    Raises:
        TrainingError: it holds another run, or one at all where none may be.
    """
    record = run.record()
    if record is None:
        return None
    if not resume:
        raise TrainingError(f"{run.folder} holds a run already; choose another folder, or resume")
    held = {"n_processes": 1} | {name: record[name] for name in plan if name in record}
    held["recipe"] = to_dict(from_dict(record["recipe"]))  # with fields that are newer than the run
    held["data"] = {"contents": plan["data"].get("contents"), **record["data"]}
    changed = differences(held, plan)
    if changed and differences(_in_one_process(held), _in_one_process(plan)):
        what = f"with other settings ({'; '.join(changed[:3])})"
        if changed[0].startswith(("data.contents", "data.fingerprint")):  # they are sorted
            what = "on other clips, labels or splits, which have changed since"
        raise TrainingError(f"{run.folder} holds a run {what}; choose another folder")
    return record


def new_record(
    run: Run, plan: Mapping[str, Any], front_end: FrontEnd, start: TransferReport | None
) -> dict[str, Any]:
    """Write the record of a new run, in place of what is left of a run without one.

    Args:
        run: its folder.
        plan: all that the result depends on.
        front_end: how the model's input is made, statistics included.
        start: which weights came from where; None where the model starts from fresh ones.

    Returns:
        The record.
    """
    for name in ("last", "best"):
        shutil.rmtree(run.folder / name, ignore_errors=True)
    run.state_path.unlink(missing_ok=True)
    run.folder.mkdir(parents=True, exist_ok=True)
    record = dict(plan) | {
        "front_end": asdict(front_end),
        "start": None if start is None else asdict(start),
        "command": sys.argv,
        "versions": versions(),
        "commit": commit(),
        "n_threads": torch.get_num_threads(),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
    write_json(run.record_path, record)
    return record


def _in_one_process(plan: Mapping[str, Any]) -> dict[str, Any]:
    """The plan that one process would follow to the same result."""
    n_clips = plan["n_processes"] * plan["recipe"]["batch_size"]
    return {**plan, "n_processes": 1, "recipe": {**plan["recipe"], "batch_size": n_clips}}
