"""Two calls at once for one output: one is refused, or both are right; nothing is lost."""

import io
import json
import multiprocessing
import os
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from audiomamba import checkpoints, infer, models
from audiomamba.audio import FrontEnd
from audiomamba.cli import app
from audiomamba.data import read_manifest
from audiomamba.train.evaluation import EVALUATION_NAME

BUSY = "is being written by another call"
LONGEST_S = 600  # of one call, on a machine with other things to do
QUICK = ("prepare", "shard", "convert")  # what is also done in the default tests
SMALL = (
    *("--set", "model=aum_tiny", "--set", "model_changes.depth=1", "--set", "model_changes.dim=32"),
    *("--set", "front_end.n_frames=48", "--set", "front_end.n_mels=32", "--set", "epochs=1"),
    *("--set", "augment.mel_mask_bins=4", "--set", "augment.frame_mask_frames=8"),
    *("--set", "batch_size=4", "--set", "precision=float32"),
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips in a folder per class, a small model with random weights, and one to convert."""
    home = tmp_path_factory.mktemp("home")
    rng = np.random.default_rng(0)
    time_s = np.arange(4_800) / 16_000
    for label, hz in (("high", 3000), ("low", 200)):
        (home / "clips" / label).mkdir(parents=True)
        for take in range(6):
            sound = 0.3 * np.sin(2 * np.pi * hz * time_s) + 0.02 * rng.standard_normal(4_800)
            soundfile.write(home / "clips" / label / f"{take}.wav", sound, 16_000)
    torch.manual_seed(0)
    front_end = FrontEnd(n_frames=32, n_mels=32)
    model = models.create("cnn_small", n_classes=3, n_frames=32, n_mels=32)
    checkpoint = checkpoints.Checkpoint(
        name="small", model=model, front_end=front_end, labels=("a", "b", "c"), scores="sigmoid"
    )
    checkpoints.save(home / "model", checkpoint)
    released = models.create("aum_tiny", n_classes=3, n_frames=32, depth=1, dim=32).state_dict()
    torch.save(
        {
            "module." + ("pos_embed.pos_embed" if key == "pos_embed" else key): value
            for key, value in released.items()
        },
        home / "released.pth",
    )
    return home


def call(arguments: Sequence[str], start: "multiprocessing.synchronize.Barrier") -> None:
    """Run a command in this process, a forked one, and end it with the command's exit code."""
    stdout, stderr = io.StringIO(), io.StringIO()
    code: int | str | None = 0
    start.wait(60)
    with redirect_stdout(stdout), redirect_stderr(stderr):
        try:
            app(list(arguments), prog_name="audiomamba")
        except SystemExit as end:
            code = end.code
    Path(os.environ["ANSWERS"], f"{os.getpid()}").write_text(json.dumps([code, stderr.getvalue()]))
    os._exit(0)


def at_once(arguments: Sequence[object], folder: Path, n_calls: int = 2) -> list[tuple[int, str]]:
    """Run a command several times at once; exit codes and what stands on stderr."""
    folder.mkdir()
    os.environ["ANSWERS"] = str(folder)
    forked = multiprocessing.get_context("fork")
    start = forked.Barrier(n_calls)
    words = [str(argument) for argument in arguments]
    callers = [forked.Process(target=call, args=(words, start)) for _ in range(n_calls)]
    for caller in callers:
        caller.start()
    try:
        for caller in callers:
            caller.join(LONGEST_S)
            assert caller.exitcode == 0
    finally:
        for caller in callers:
            caller.kill()
    return [tuple(json.loads(path.read_text())) for path in sorted(folder.iterdir())]


def is_whole_manifest(out: Path, home: Path) -> None:
    clips = read_manifest(out / "manifest.jsonl").clips
    rows = (out / "journal.jsonl").read_text().splitlines()
    read = Counter(json.loads(row)[0] for row in rows if row)
    assert len(clips) == len({clip.path for clip in clips}) == 12
    assert set(read.values()) == {1}
    assert len(read) == 12
    assert (home / "clips").is_dir()


def are_whole_shards(out: Path, home: Path) -> None:
    del home
    names = [clip.key for clip in read_manifest(out / "manifest.jsonl").clips]
    assert len(names) == len(set(names)) == 12


def is_whole_model(out: Path, home: Path) -> None:
    assert infer.load(str(out)).tag(home / "clips" / "high" / "0.wav")


def is_whole_run(out: Path, home: Path) -> None:
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1]
    is_whole_model(out / "last", home)


def is_whole_page(out: Path, home: Path) -> None:
    del home
    text = out.read_text("utf-8")
    assert text.startswith("<!doctype html>")
    assert text.rstrip().endswith("</html>")


COMMANDS: dict[str, tuple[Callable[[Path], Sequence[object]], Callable[[Path, Path], None]]] = {
    "prepare": (
        lambda home: ("data", "prepare", "own", "--from", home / "clips", "--to"),
        is_whole_manifest,
    ),
    "shard": (lambda home: ("data", "shard", home / "listed", "--to"), are_whole_shards),
    "convert": (lambda home: ("convert", home / "released.pth"), is_whole_model),
    "finetune": (
        lambda home: (
            *("finetune", "--data", home / "clips", "--model", home / "model", "--probe"),
            *("--threads", 1, "--out"),
        ),
        is_whole_model,
    ),
    "train": (
        lambda home: (
            *("train", "own/starter", "--data", home / "clips", *SMALL, "--threads", 1, "--out"),
        ),
        is_whole_run,
    ),
    "export": (lambda home: ("export", home / "model", "--to"), is_whole_model),
    "report": (lambda home: ("report", home / "tuned", "--out"), is_whole_page),
}


@pytest.mark.timeout(7200)
@pytest.mark.parametrize(
    ("name", "n_repetitions"),
    [
        *((name, 1) for name in QUICK),
        *(pytest.param(name, 20, marks=pytest.mark.slow) for name in COMMANDS),
    ],
)
def test_of_two_calls_at_once_none_is_wrong(
    home: Path, tmp_path: Path, name: str, n_repetitions: int
) -> None:
    if name == "shard":
        at_once((*COMMANDS["prepare"][0](home), home / "listed"), tmp_path / "prepare", 1)
    if name == "report":
        at_once((*COMMANDS["finetune"][0](home), home / "tuned"), tmp_path / "finetune", 1)
    arguments, check = COMMANDS[name]
    for repetition in range(n_repetitions):
        out = tmp_path / f"out-{repetition}"
        answers = at_once((*arguments(home), out), tmp_path / f"answers-{repetition}")
        codes = sorted(code for code, _ in answers)
        assert codes in ([0, 0], [0, 2]), answers
        for code, stderr in answers:
            if code == 2:
                assert any(said in stderr for said in (BUSY, "exists already", "holds", "there"))
                assert len(stderr.splitlines()) == 1
        check(out, home)
        assert not list(tmp_path.glob(".*.lock"))


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_two_evaluations_at_once_leave_a_whole_one(home: Path, tmp_path: Path) -> None:
    clips, tuned = home / "clips", tmp_path / "tuned"
    at_once((*COMMANDS["finetune"][0](home), tuned), tmp_path / "finetune", 1)
    at_once(("evaluate", tuned, "--data", clips), tmp_path / "evaluate", 1)
    kept = tuned / EVALUATION_NAME
    metrics = json.loads(kept.read_text())["metrics"]
    for repetition in range(20):
        kept.unlink()
        answers = at_once(("evaluate", tuned, "--data", clips), tmp_path / f"answers-{repetition}")
        assert [code for code, _ in answers] == [0, 0]
        for _, stderr in answers:
            assert not stderr or BUSY in stderr
        assert json.loads(kept.read_text())["metrics"] == metrics
        assert not list(tuned.glob(".*.lock"))
