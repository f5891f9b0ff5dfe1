"""How commands end that are refused: with 2 and one line, of whatever command."""

import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from command_line import noise, run, write
from typer.core import TyperGroup

from audiomamba.cli import app
from audiomamba.errors import (
    AudioError,
    AudioMambaError,
    BackendError,
    CheckpointError,
    ConfigError,
    DataError,
    DownloadError,
    MissingDependencyError,
    RunFailedError,
    TrainingError,
    exit_code,
)

# Calls that are wrong, by command. There are: a.wav, clips/ with two classes, empty/, run/ with a
# damaged record, text.csv with other columns, words.txt.
REFUSED: dict[str, tuple[str, ...]] = {
    "tag": ("a.wav --model nowhere", "a.wav --model empty", "a.wav --out nowhere/t.csv"),
    "timeline": ("a.wav --model empty", "a.wav --stay 7", "a.wav --format nope"),
    "embed": ("a.wav --out e.npy --model empty", "a.wav --out e.nope"),
    "models": ("nowhere",),
    "pull": ("nowhere", "hf:x"),
    "publish": ("empty org/name", "nowhere org/name"),
    "convert": ("words.txt out", "nowhere out", "words.txt out --labels text.csv"),
    "train": (
        "own/nope --data clips --out new",
        "own/starter --data nowhere --out new",
        "own/starter --data text.csv --out new",
        "own/starter --data empty --out new",
        "own/starter --data clips --out run",
        "own/starter --data clips --out new --fold 9",
        "own/starter --data clips --out new --cv",
        "own/starter --data clips --out new --set nope=1",
        "own/starter --data clips --out clips",
        "own/starter --data clips --out new --teacher nowhere",
    ),
    "finetune": (
        "--data nowhere --out new",
        "--data text.csv --out new",
        "--data empty --out new",
        "--data clips --out run",
        "--data clips --out new --minutes inf",
    ),
    "evaluate": ("general --data nowhere", "run --data clips", "general --data clips --split x"),
    "export": ("nowhere --to e", "empty --to e"),
    "report": ("nowhere --out r.html", "run --out r.html", "run --out words.txt"),
    "serve": ("empty", "--max-mb nan", "--token nowhere"),
    "watch": ("", "nowhere --events e.jsonl"),
    "segment": ("a.png --model empty",),
    "detect": ("a.png --model empty",),
    "segment-sound": ("a.wav --model empty",),
    "train-images": ("", "--recipe nope --data clips --out new"),
    "bench": ("nope", "--compare text.csv"),
    "doctor": ("--nope",),
    "cache list": ("--nope",),
    "cache clear": ("nowhere",),
    "data corpora": ("--nope",),
    "data download": ("nope --to new",),
    "data prepare": (
        "nope --from clips --to new",
        "esc50 --from empty --to new",
        "own --from empty --to new",
        "collection --from nowhere --to new",
    ),
    "data link": ("text.csv --to new",),
    "data shard": ("text.csv --to new", "nowhere --to new"),
    "bulk plan": ("clips --out new --model nowhere",),
    "bulk run": ("nowhere", "empty"),
    "bulk status": ("nowhere", "empty"),
    "bulk merge": ("nowhere --to new", "empty --to new"),
    "bulk verify": ("nowhere", "empty"),
    "distill examples": ("nowhere --teacher general --to new",),
    "distill train": ("empty --teacher general --out new",),
    "distill export": ("empty --examples empty --teacher general --to new",),
}


def commands(group: TyperGroup, *before: str) -> Iterator[str]:
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from commands(command, *before, name)
        else:
            yield " ".join((*before, name))


def test_every_command_is_here() -> None:
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    assert set(REFUSED) == set(commands(group))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("refused")
    write(folder / "a.wav", noise(0.5), 16_000)
    for label in ("low", "high"):
        (folder / "clips" / label).mkdir(parents=True)
        for number in range(3):
            write(folder / "clips" / label / f"{number}.wav", noise(0.5), 16_000)
    (folder / "empty").mkdir()
    (folder / "run").mkdir()
    (folder / "run" / "run.json").write_text("{")
    (folder / "text.csv").write_text("a,b\n1,2\n")
    (folder / "words.txt").write_text("words")
    return folder


@pytest.mark.parametrize(
    "call", [f"{name} {more}".strip() for name, calls in REFUSED.items() for more in calls]
)
def test_a_call_that_is_refused_ends_with_2_and_leaves_nothing(
    call: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    before = {path: path.is_file() and path.read_bytes() for path in place.rglob("*")}

    result = run(*shlex.split(call))  # what is no AudioMambaError would be raised

    assert result.exit_code == 2, result.stderr
    if "Usage:" not in result.stderr:
        (line,) = result.stderr.splitlines()
        assert line.startswith("audiomamba: ")
    assert {path: path.is_file() and path.read_bytes() for path in place.rglob("*")} == before


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (AudioError("a"), 1),
        (DownloadError("a"), 1),
        (RunFailedError("a"), 1),
        (ConfigError("a"), 2),
        (DataError("a"), 2),
        (CheckpointError("a"), 2),
        (BackendError("a"), 2),
        (TrainingError("a"), 2),
        (MissingDependencyError("a", "b", "c"), 2),
    ],
)
def test_exit_codes_of_errors(error: AudioMambaError, code: int) -> None:
    assert exit_code(error) == code
