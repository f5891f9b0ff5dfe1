"""Two real processes that train one model, connected by gloo."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from audiomamba import checkpoints, recipes, train
from audiomamba.errors import ConfigError, MissingDependencyError
from audiomamba.recipes import override
from audiomamba.train.run import Run

N_TRAINING, N_HELD_OUT = 15, 7  # neither can be shared out evenly
SAME = ("model_changes.dim=16", "model_changes.drop_path=0", "precision=float32")


@pytest.fixture(scope="module")
def uneven(corpus, tmp_path_factory) -> Path:
    """The clips of the corpus, some of them left out."""
    names = sorted(path.name for path in (corpus / "audio").glob("*.wav"))
    labels = {"0": "low", "4": "middle", "9": "high"}
    folder = tmp_path_factory.mktemp("uneven")
    lines = ["filename,label,split\n"]
    for place, name in enumerate(names[: N_TRAINING + N_HELD_OUT]):
        (folder / name).symlink_to(corpus / "audio" / name)
        split = "valid" if place < N_HELD_OUT else "train"
        lines.append(f"{name},{labels[name.split('-')[2].split('.')[0]]},{split}\n")
    (folder / "clips.csv").write_text("".join(lines))
    return folder / "clips.csv"


def command(recipe, data: Path, out: Path, *options: str) -> list[str]:
    """The command line that trains with two processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script, settings = out.with_name(out.name + ".py"), out.with_name(out.name + ".json")
    settings.write_text(json.dumps(recipes.to_dict(recipe)))
    script.write_text(
        "import json, sys\n"
        "from pathlib import Path\n"
        "from audiomamba import cli, recipes\n"
        f"recipe = recipes.from_dict(json.loads(Path({str(settings)!r}).read_text()))\n"
        "recipes.get = lambda _name: recipe\n"
        "sys.exit(cli.main())\n"
    )
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node=2", f"--master-port={port}"]
    arguments = ["train", recipe.name, f"--data={data}", f"--out={out}", "--threads=1", *options]
    return [sys.executable, *launcher, str(script), *arguments]


def run_both(recipe, data: Path, out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(recipe, data, out, *options),
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def curve(folder: Path) -> list[dict[str, float]]:
    return [{k: v for k, v in line.items() if k != "seconds"} for line in Run(folder).epochs()]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return checkpoints.load(folder / "last").model.state_dict()


@pytest.mark.parametrize("options", [(), ("--shard",)], ids=["copied", "shared out"])
def test_two_processes_do_what_one_does_with_the_doubled_batch(recipe, uneven, tmp_path, options):
    """52 steps: 13 epochs of 15 clips in steps of 4, 4, 4 and 3, which are shared out unevenly."""
    own = override(recipe, ["corpus=own", "epochs=13", "evaluate_every=1", *SAME])
    half = override(own, ["batch_size=2"])
    one = train.fit(own, uneven, tmp_path / "one", n_threads=1, progress=False)
    done = run_both(half, uneven, tmp_path / "two", *options)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("The model is in") == 1
    record = json.loads((tmp_path / "two" / "run.json").read_text())
    assert record["n_processes"] == 2
    assert (record["data"]["n_training"], record["data"]["n_held_out"]) == (N_TRAINING, N_HELD_OUT)
    lines = [curve(tmp_path / name) for name in ("one", "two")]
    assert len(lines[0]) == len(lines[1]) == 13
    for alone, together in zip(*lines, strict=True):
        assert alone.keys() == together.keys()
        assert together["loss"] == pytest.approx(alone["loss"], abs=1e-5)
        for name in ("log_loss", "ema_log_loss"):
            assert together[name] == pytest.approx(alone[name], abs=1e-4)
        assert together["accuracy"] == alone["accuracy"]
    assert lines[1][-1]["loss"] < lines[1][0]["loss"]
    assert one.metrics["epoch"] == 13
    assert_alike(*(saved_state(tmp_path / name) for name in ("one", "two")))
    assert_alike(*(weights(tmp_path / name) for name in ("one", "two")))


def saved_state(folder: Path) -> dict[str, Any]:
    """What a saved state says of the model and the optimizer."""
    state = torch.load(folder / "state.ckpt", weights_only=True)
    return {name: state[name] for name in ("state_dict", "optimizer_states", "lr_schedulers")}


def assert_alike(one: Any, other: Any, name: str = "") -> None:
    """Hold two trees of tensors and numbers equal up to rounding."""
    if isinstance(one, dict):
        assert one.keys() == other.keys(), name
        for key in one:
            assert_alike(one[key], other[key], f"{name}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), name
        for key, (first, second) in enumerate(zip(one, other, strict=True)):
            assert_alike(first, second, f"{name}.{key}")
    elif isinstance(one, torch.Tensor):
        torch.testing.assert_close(
            one, other, atol=1e-4, rtol=1e-3, msg=lambda text: f"{name}: {text}"
        )
    else:
        assert one == (pytest.approx(other) if isinstance(one, float) else other), name


def test_a_run_of_one_process_goes_on_in_two_that_share_the_weights_out(
    recipe, uneven, tmp_path, monkeypatch
):
    own = override(recipe, ["corpus=own", "epochs=4", "evaluate_every=1", *SAME])
    train.fit(own, uneven, tmp_path / "whole", n_threads=1, progress=False)
    add_epoch = Run.add_epoch

    def add_and_fail(self: Run, line: dict[str, float]) -> None:
        add_epoch(self, line)
        if line["epoch"] == 3:
            raise RuntimeError("killed")

    monkeypatch.setattr(Run, "add_epoch", add_and_fail)
    with pytest.raises(RuntimeError, match="killed"):
        train.fit(own, uneven, tmp_path / "parts", n_threads=1, progress=False)
    monkeypatch.undo()
    half = override(own, ["batch_size=2"])
    done = run_both(half, uneven, tmp_path / "parts", "--shard")
    assert done.returncode == 0, done.stderr
    for whole, parts in zip(curve(tmp_path / "whole"), curve(tmp_path / "parts"), strict=True):
        assert parts["loss"] == pytest.approx(whole["loss"], abs=1e-5)
    assert_alike(*(saved_state(tmp_path / name) for name in ("whole", "parts")))


def test_there_is_nothing_to_share_out_in_one_process(recipe, uneven, tmp_path):
    with pytest.raises(ConfigError, match="shard is set, but this process is alone"):
        train.fit(recipe, uneven, tmp_path, shard=True, progress=False)


def test_what_is_not_finite_is_named_where_weights_are_shared_out(recipe, uneven, tmp_path):
    wild = override(recipe, ["corpus=own", "epochs=3", "learning_rate=1e30", "warmup_epochs=0"])
    done = run_both(override(wild, SAME), uneven, tmp_path / "run", "--shard")
    assert done.returncode != 0
    said = {line for line in done.stderr.splitlines() if line.startswith("audiomamba: ")}
    assert any("lower the learning rate or look at the clips" in line for line in said), said
    half = override(wild, ["precision=float16"])
    done = run_both(half, uneven, tmp_path / "half", "--shard")
    assert "set it to 'bfloat16' or 'float32', or leave shard out" in done.stderr


@pytest.mark.parametrize("cached", [pytest.param(False, marks=pytest.mark.slow), True])
def test_two_processes_learn_from_a_teacher_as_one_does(
    recipe, uneven, save_random, tmp_path, cached
):
    teacher = save_random(tmp_path / "teacher")
    changes = ["corpus=own", "epochs=2", *SAME, f"distillation.teachers={teacher}"]
    own = override(recipe, changes)
    settings = [[f"distillation.cache={tmp_path / name}"] if cached else [] for name in "ab"]
    half = override(own, ["batch_size=2", *settings[1]])
    train.fit(override(own, settings[0]), uneven, tmp_path / "one", n_threads=1, progress=False)
    done = run_both(half, uneven, tmp_path / "two")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("does not say whether it has learned") == 1
    lines = [curve(tmp_path / name) for name in ("one", "two")]
    for alone, together in zip(*lines, strict=True):
        assert together["loss"] == pytest.approx(alone["loss"], abs=1e-5)
    assert len(list((tmp_path / "b").glob("*/*.safetensors"))) == (2 if cached else 0)


def test_a_killed_process_ends_the_run_and_the_same_command_goes_on(recipe, uneven, tmp_path):
    own = override(recipe, ["corpus=own", "epochs=6", "batch_size=2", *SAME])
    assert run_both(own, uneven, tmp_path / "whole").returncode == 0
    slow = override(own, ["epochs=6"])
    out = tmp_path / "killed"
    process = subprocess.Popen(
        command(slow, uneven, out, "--save-every=0"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    while not (out / "metrics.jsonl").exists() or len(Run(out).epochs()) < 2:
        time.sleep(0.005)
        assert process.poll() is None
    os.kill(second_of(process.pid), signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    said = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert len(said) <= 1, errors
    assert "rank0]" not in errors, errors  # no traceback of the package's own
    assert 2 <= len(Run(out).epochs()) < 6
    done = run_both(slow, uneven, out)
    assert done.returncode == 0, done.stderr
    assert curve(out) == curve(tmp_path / "whole")
    first, second = weights(tmp_path / "whole"), weights(out)
    assert all(torch.equal(first[name], second[name]) for name in first)


def second_of(launcher: int) -> int:
    """The process of rank 1."""
    for folder in Path("/proc").iterdir():
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            names = (folder / "environ").read_bytes().split(b"\0")
        except (OSError, IndexError, ValueError):
            continue
        if parent == launcher and b"RANK=1" in names:
            return int(folder.name)
    raise AssertionError(f"{launcher} has no process of rank 1")


def test_another_number_of_processes_is_another_run(recipe, uneven, tmp_path):
    own = override(recipe, ["corpus=own", "epochs=1", *SAME])
    train.fit(own, uneven, tmp_path / "run", n_threads=1, progress=False)
    done = run_both(own, uneven, tmp_path / "run")
    assert done.returncode != 0
    assert "other settings (n_processes: 1, now 2)" in done.stderr
    assert "Traceback" not in done.stderr.partition("torch/distributed")[0]


def test_several_runs_are_not_for_torchrun(recipe, corpus, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(ConfigError, match="start this command without torchrun"):
        train.cross_validate(recipe, corpus, tmp_path, progress=False)


def test_weights_and_biases_must_be_there_to_be_used(recipe, corpus, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.setattr(
        "audiomamba.train.fitting.execution.find_spec", lambda name: name != "wandb" or None
    )
    with pytest.raises(MissingDependencyError, match=r"audiomamba\[wandb\]"):
        train.fit(recipe, corpus, tmp_path, fold=1, wandb="tests", progress=False)


def test_a_run_sends_its_curves(recipe, corpus, tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="the package wandb is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    short = override(recipe, ["epochs=1"])
    train.fit(short, corpus, tmp_path, fold=1, wandb="tests", progress=False)
    assert list(tmp_path.glob("wandb/offline-run-*/*.wandb"))
