"""The command line: what it prints, where, and the exit code."""

import csv
import io
import json
import os
import pickle
import pty
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import typer
from safetensors.torch import load_file, save_file
from typer.core import TyperGroup
from typer.testing import CliRunner, Result

from audiomamba import __version__, checkpoints, models, recipes
from audiomamba.audio import FrontEnd
from audiomamba.cli import app
from audiomamba.listing import WEIGHTS
from audiomamba.recipes import sets

LABELS = ("bell", "dog", "rain")
COMMANDS = (
    "tag",
    "timeline",
    "embed",
    "models",
    "convert",
    "train",
    "finetune",
    "evaluate",
    "report",
    "bench",
    "doctor",
)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small untrained model with three labels; its window is 0.335 s."""
    torch.manual_seed(0)
    model = models.create("aum_tiny", n_classes=3, n_frames=32, n_mels=32, depth=1, dim=32)
    front_end = FrontEnd(n_frames=32, n_mels=32)
    checkpoint = checkpoints.Checkpoint(
        name="tiny", model=model, front_end=front_end, labels=LABELS, scores="sigmoid"
    )
    folder = tmp_path_factory.mktemp("models") / "tiny"
    checkpoints.save(folder, checkpoint)
    return folder


@pytest.fixture(scope="module")
def listing() -> list[str]:
    """What `audiomamba models` prints."""
    return run("models").stdout.splitlines()


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """A recording of half a second that can be read."""
    return write(tmp_path / "good.wav", noise(0.5), 16_000)


def noise(seconds: float, rate: int = 16_000) -> np.ndarray:
    return 0.1 * np.random.default_rng(0).standard_normal(round(seconds * rate))


def write(path: Path, samples: np.ndarray, rate: int, subtype: str | None = None) -> Path:
    soundfile.write(path, samples, rate, subtype=subtype)
    return path


def run(*arguments: object) -> Result:
    """Run a command in this process; what it does not catch is raised."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def command(*arguments: object) -> list[str]:
    """What runs a command in a process of its own."""
    return [sys.executable, "-m", "audiomamba", *map(str, arguments)]


# Help


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_with_an_example(name: str) -> None:
    result = run(name, "--help")

    assert result.exit_code == 0
    assert f"audiomamba {name}" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_help_lists_every_command_and_loads_no_torch() -> None:
    code = "import sys, audiomamba.cli; sys.argv[1:] = ['--help']\n"
    code += "try: audiomamba.cli.main()\nfinally: assert 'torch' not in sys.modules"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert all(name in done.stdout for name in COMMANDS)


def test_train_lists_every_recipe_and_every_table_of_a_paper() -> None:
    shown = run("train", "--list")

    first_words = [line.split()[0] for line in shown.stdout.splitlines() if line.startswith("  ")]
    assert shown.exit_code == 0
    assert sorted(first_words) == sorted(["name", *recipes.names(), "name", *sets.set_names()])


def test_the_version_is_shown() -> None:
    assert run("--version").stdout == f"audiomamba {__version__}\n"


def calls_in(document: str) -> list[str]:
    """The lines of a document at the root of the project that call the command line."""
    lines = Path(__file__).parents[1].joinpath(document).read_text("utf-8").splitlines()
    return [line.strip() for line in lines if line.startswith("    audiomamba ")]


@pytest.mark.parametrize("call", calls_in("README.md"))
def test_every_call_in_the_readme_is_understood(call: str) -> None:
    name, *arguments = shlex.split(call.partition("|")[0])[1:]
    commands = typer.main.get_command(app)

    assert isinstance(commands, TyperGroup)
    commands.commands[name].make_context(name, arguments)


# Tagging


def test_the_table_shows_the_three_highest_tags(model_folder: Path, good: Path) -> None:
    result = run("tag", good, "--model", model_folder)

    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert len(lines) == 2 + 3
    assert all(label in result.stdout for label in LABELS)


def test_json_lines_hold_file_seconds_and_tags(model_folder: Path, good: Path) -> None:
    result = run("tag", good, good, "--model", model_folder, "--json", "--top", 2)

    assert result.exit_code == 0
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["file"] for row in rows] == [str(good)] * 2
    assert rows[0]["seconds"] == 0.5
    assert [sorted(tag) for tag in rows[0]["tags"]] == [["label", "score"]] * 2


def test_csv_has_a_row_per_tag(model_folder: Path, good: Path) -> None:
    result = run("tag", good, "--model", model_folder, "--csv")

    assert result.exit_code == 0
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [row["file"] for row in rows] == [str(good)] * 3


def test_a_table_has_a_row_per_recording_also_for_those_that_fail(
    model_folder: Path, good: Path, tmp_path: Path
) -> None:
    out, missing = tmp_path / "tags.csv", tmp_path / "missing.wav"
    call = ("tag", missing, good, "--model", model_folder, "--out", out)

    result = run(*call)
    again, other = run(*call), run(*call, "--top", 1)
    replaced = run(*call, "--top", 1, "--overwrite")

    assert result.exit_code == 1
    assert result.stdout == ""
    error, summary = result.stderr.splitlines()
    assert error == f"audiomamba: {missing}: no such file"
    assert re.match(r"audiomamba: 2 recordings, 1 failed, 0.50 s of sound, in .* files/s", summary)
    assert again.exit_code == 1
    assert "complete already" in again.stderr
    assert other.exit_code == 2
    assert "from another call, with another top" in other.stderr
    assert replaced.exit_code == 1
    rows = list(csv.DictReader(io.StringIO(out.read_text())))
    assert [row["file"] for row in rows] == [str(missing), str(good)]
    assert [row["error"] for row in rows] == [f"{missing}: no such file", ""]
    assert [bool(row["label_1"]) for row in rows] == [False, True]


def test_windows_of_another_length_give_other_scores(model_folder: Path, good: Path) -> None:
    call = ("tag", good, "--model", model_folder, "--json")

    default, shorter, same = (
        json.loads(run(*call, *more).stdout)["tags"]
        for more in ((), ("--window", 0.1, "--hop", 0.05), ("--window", 0.335, "--hop", 0.335))
    )

    assert same == default
    assert shorter != default


def test_a_short_recording_is_tagged_with_a_note(model_folder: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "short.wav", noise(0.003), 16_000)

    result = run("tag", file, "--model", model_folder, "--json")

    assert result.exit_code == 0
    assert "under half of a window" in json.loads(result.stdout)["note"]
    (line,) = result.stderr.splitlines()
    assert line.startswith("audiomamba: note: 1 recording is shorter than half of a window")


def test_a_threshold_alone_shows_all_that_reach_it(model_folder: Path, good: Path) -> None:
    every = json.loads(run("tag", good, "--model", model_folder, "--json").stdout)["tags"]
    limit = every[1]["score"] - 0.00005

    row = run("tag", good, "--model", model_folder, "--json", "--threshold", limit)

    assert json.loads(row.stdout)["tags"] == every[:2]


def test_folders_are_searched_and_other_files_left_out(
    model_folder: Path, good: Path, tmp_path: Path
) -> None:
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    write(deep / "rain.flac", noise(0.4), 44_100)
    (deep / "notes.txt").write_text("no sound")

    result = run("tag", tmp_path, "--model", model_folder, "--json")

    assert result.exit_code == 0
    files = [json.loads(line)["file"] for line in result.stdout.splitlines()]
    assert files == [str(deep / "rain.flac"), str(good)]


def test_a_picture_is_drawn(model_folder: Path, good: Path, tmp_path: Path) -> None:
    picture = tmp_path / "tags.png"

    result = run("tag", good, "--model", model_folder, "--picture", picture)

    assert result.exit_code == 0
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_eight_channels_at_192_khz_are_tagged(model_folder: Path, tmp_path: Path) -> None:
    wide = np.stack([noise(0.5, 192_000)] * 8, axis=1)
    file = write(tmp_path / "wide.wav", wide, 192_000)

    result = run("tag", file, "--model", model_folder, "--json")

    assert result.exit_code == 0
    assert json.loads(result.stdout)["seconds"] == 0.5


# Recordings that cannot be tagged: one line for each, the others done, exit code 1


def empty(folder: Path) -> Path:
    (folder / "bad.wav").touch()
    return folder / "bad.wav"


def renamed_text(folder: Path) -> Path:
    (folder / "bad.wav").write_text("These are words, not sound.\n" * 50)
    return folder / "bad.wav"


def truncated_flac(folder: Path) -> Path:
    path = write(folder / "bad.flac", noise(3.0), 16_000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def no_samples(folder: Path) -> Path:
    return write(folder / "bad.wav", np.zeros(0), 16_000)


def nan_samples(folder: Path) -> Path:
    samples = noise(0.5)
    samples[4000] = np.nan
    return write(folder / "bad.wav", samples, 16_000, "FLOAT")


def folder_without_audio(folder: Path) -> Path:
    (folder / "bad").mkdir()
    (folder / "bad" / "notes.txt").write_text("no sound")
    return folder / "bad"


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda folder: folder / "bad.wav", "no such file"),
        (empty, "empty"),
        (renamed_text, "not audio"),
        (truncated_flac, "cut short"),
        (no_samples, "no samples"),
        (nan_samples, "NaN"),
        (folder_without_audio, "no audio files"),
    ],
)
def test_a_bad_recording_gets_one_line_and_the_others_are_done(
    make: Callable[[Path], Path], reason: str, model_folder: Path, good: Path, tmp_path: Path
) -> None:
    bad = make(tmp_path)

    result = run("tag", bad, good, "--model", model_folder, "--json")

    assert result.exit_code == 1
    assert [json.loads(line)["file"] for line in result.stdout.splitlines()] == [str(good)]
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"audiomamba: {bad}: ")
    assert reason in line


# Calls that are wrong: one line, exit code 2


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--json", "--csv"), "--json and --csv were both given"),
        (("--model", "startr"), "unknown model or model folder 'startr'; did you mean starter?"),
        (("--out", "nowhere/tags.csv"), "nowhere/tags.csv cannot be written"),
        (("--out", "tags.txt"), "tags.txt is no table"),
        (("--out", "tags.csv", "--json"), "--out takes its format from the name"),
        (("--overwrite",), "--overwrite was given without --out"),
        (("--raw", "16000"), "--raw and --events are for standard input"),
        (("-",), "- stands alone"),
        (("--window", "9"), "a window of 9.0 s was asked for"),
        (("--hop", "9"), "a hop of 9.0 s was asked for"),
        (("--mode", "nativ"), "unknown mode 'nativ'; did you mean native"),
        (("--picture", "tags.txt"), "tags.txt is no picture"),
        (("--top", "0"), "Invalid value for '--top'"),
        (("--threshold", "1.5"), "Invalid value for '--threshold'"),
        (("--toop", "3"), "No such option: --toop"),
    ],
)
def test_a_wrong_call_is_refused_before_any_work(
    arguments: tuple[str, ...], reason: str, model_folder: Path, good: Path
) -> None:
    model = () if "--model" in arguments else ("--model", model_folder)

    result = run("tag", good, *model, *arguments)

    assert result.exit_code == 2
    assert result.stdout == ""
    assert reason in " ".join(result.stderr.replace("│", " ").split())


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("esc10/startr",), "unknown recipe 'esc10/startr'; did you mean esc10/starter"),
        (("esc10/starter", "--set", "epoch=3"), "did you mean epochs"),
        (("esc10/starter", "--set", "epochs"), "expected NAME=VALUE"),
        (("esc10/starter", "--set", "epochs=none"), "expected a whole number"),
        (("esc10/starter", "--cv", "--all"), "more than one of --fold, --cv and --all"),
        ((), "no recipe was given; expected RECIPE or --set-of"),
        (("--set-of", "aum/table-iii"), "unknown set of recipes 'aum/table-iii'; did you mean"),
        (("--set-of", "aum/table-v", "--all"), "--all and --no-resume do not go with --set-of"),
        (
            ("esc10/aum-tiny", "--set-of", "aum/table-v", "--set", "model_changes.pool=max"),
            "model_changes.pool is what aum/table-v compares",
        ),
    ],
)
def test_a_wrong_training_call_is_refused(
    arguments: tuple[str, ...], reason: str, tmp_path: Path
) -> None:
    result = run("train", *arguments, "--data", tmp_path, "--out", tmp_path / "run")

    assert result.exit_code == 2
    assert reason in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("missing", "arguments", "extra"),
    [
        ("lightning", ("train", "own/starter", "--data", ".", "--out", "run"), "train"),
        ("lightning", ("train", "own/starter", "--data", ".", "--out", "run", "--cv"), "train"),
        ("matplotlib", ("tag", ".", "--picture", "tags.png"), "plot"),
    ],
)
def test_a_missing_extra_is_named(
    missing: str,
    arguments: tuple[str, ...],
    extra: str,
    good: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(good.parent)
    monkeypatch.setitem(sys.modules, missing, None)

    result = run(*arguments)

    assert result.exit_code == 2
    assert result.stderr.endswith(f"pip install 'audiomamba[{extra}]'\n")


# Damaged and dangerous models


def test_a_model_with_a_missing_key_is_named(
    model_folder: Path, good: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_bytes((model_folder / "config.json").read_bytes())
    state = load_file(model_folder / "model.safetensors")
    del state["norm_f.weight"]
    save_file(state, broken / "model.safetensors")

    result = run("tag", good, "--model", broken)

    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert "norm_f.weight" in line


class _Malicious:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("save", ["torch", "pickle"])
def test_a_pickle_that_would_run_code_is_refused_and_not_run(save: str, tmp_path: Path) -> None:
    proof, file = tmp_path / "it-ran", tmp_path / "evil.pth"
    content = {"head.weight": torch.zeros(2, 2), "payload": _Malicious(proof)}
    if save == "torch":
        torch.save(content, file)
    else:
        file.write_bytes(pickle.dumps(content, protocol=2))

    result = run("convert", file, tmp_path / "out")

    assert result.exit_code == 1
    assert not proof.exists()
    assert not (tmp_path / "out").exists()
    (line,) = result.stderr.splitlines()
    assert str(file) in line


# The other commands


def test_models_lists_what_ships_what_was_released_and_what_can_be_trained() -> None:
    result = run("models")

    assert result.exit_code == 0
    assert max(map(len, result.stdout.splitlines())) <= 80
    for name in (*checkpoints.packaged(), *models.names()):
        assert f"  {name} " in result.stdout
    for released in checkpoints.RELEASED:
        assert f"{released.score:.2f}" in result.stdout


@pytest.mark.parametrize(
    ("name", "figures"),
    [
        ("aum_base", "92.11 M 47.38 G 128x1024 BSD-3-Clause"),
        ("conv_aum_tiny", "1.56 M 1.49 G 128x1024 -"),
        ("deit_small", "22.05 M 4.61 G 224x224 Apache-2.0"),
        ("mambaout_tiny", "25.45 M 11.68 G 128x1024 -"),
        ("mambaout_tiny_224", "26.55 M 4.49 G 224x224 Apache-2.0"),
    ],
)
def test_models_lists_size_work_input_and_licence(
    listing: list[str], name: str, figures: str
) -> None:
    (line,) = [line for line in listing if line.startswith(f"  {name} ") and " G " in line]

    assert line.split() == [name, *figures.split()]


def test_every_origin_of_weights_has_a_model_in_the_list() -> None:
    origins = {origin.name: origin.license for origin in checkpoints.ORIGINS}

    assert set(WEIGHTS.values()) <= set(origins)
    assert {origins[it] for it in WEIGHTS.values()} == set(origins.values())
    assert all(any(fnmatch(name, form) for name in models.names()) for form in WEIGHTS)


def test_models_tells_all_about_one(model_folder: Path) -> None:
    result = run("models", model_folder)

    assert result.exit_code == 0
    assert "bell, dog, rain" in result.stdout
    assert "sample_rate" in result.stdout
    assert re.search(r"^  head +1x3 +99 +96$", result.stdout, re.MULTILINE)


def test_models_shows_the_layers_of_one_that_has_no_weights() -> None:
    result = run("models", "aum_small")

    assert result.exit_code == 0
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["direction", "fo-bi"] in lines
    assert ["patch_embed", "1x384x8x64", "98,688", "50,331,648"] in lines
    assert any(line[:4] == ["layers.0-23", "(24", "x)", "1x513x384"] for line in lines)
    assert ["all", "23,935,631"] in [line[:2] for line in lines]
    assert ["513", "2304", "short"] in lines


def test_models_offers_names_near_an_unknown_one() -> None:
    result = run("models", "aum_smal")

    assert result.exit_code == 2
    assert "did you mean aum_small" in result.stderr


def test_convert_turns_released_weights_into_a_model_that_tags(good: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = models.create("aum_tiny", n_classes=3, n_frames=32, depth=1, dim=32)
    state = {
        "module." + ("pos_embed.pos_embed" if key == "pos_embed" else key): value
        for key, value in model.state_dict().items()
    }
    torch.save(state, tmp_path / "audio_model.pth")
    (tmp_path / "labels.csv").write_text("index,display_name\n0,bell\n1,dog\n2,rain\n")

    done = run(
        "convert",
        tmp_path / "audio_model.pth",
        tmp_path / "out",
        "--labels",
        tmp_path / "labels.csv",
    )
    tagged = run("tag", good, "--model", tmp_path / "out", "--json")

    assert done.exit_code == 0, done.stderr
    assert "AuM, 3 classes" in done.stdout
    assert re.search(r"^direction +fo-bi$", done.stdout, re.MULTILINE)
    assert {tag["label"] for tag in json.loads(tagged.stdout)["tags"]} == set(LABELS)


def test_convert_wants_a_column_of_labels(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("a,b\n0,1\n")

    result = run("convert", tmp_path / "x.pth", tmp_path, "--labels", tmp_path / "labels.csv")

    assert result.exit_code == 1
    assert "no column label or display_name" in result.stderr


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder per class: low and high tones."""
    folder = tmp_path_factory.mktemp("clips")
    time_s = np.arange(8_000) / 16_000
    for label, hz in (("high", 3000), ("low", 200)):
        (folder / label).mkdir()
        for take in range(6):
            tone = 0.3 * np.sin(2 * np.pi * hz * (0.9 + 0.04 * take) * time_s)
            write(folder / label / f"{take}.wav", tone + 0.02 * noise(0.5), 16_000)
    return folder


def training(clips: Path, out: Path, *more: str) -> tuple[object, ...]:
    """A training call that takes a second."""
    changes = (
        "model=aum_tiny",
        "model_changes.depth=1",
        "model_changes.dim=32",
        "front_end.n_frames=48",
        "front_end.n_mels=32",
        "augment.mel_mask_bins=4",
        "augment.frame_mask_frames=8",
        "batch_size=4",
        "precision=float32",
        *more,
    )
    settings = [word for change in changes for word in ("--set", change)]
    return ("train", "own/starter", "--data", clips, "--out", out, *settings)


def test_train_without_data_or_a_folder_says_so(tmp_path: Path) -> None:
    assert "--data is missing" in run("train", "own/starter", "--out", tmp_path).stderr
    assert "--out is missing" in run("train", "own/starter", "--data", tmp_path).stderr


def test_a_table_of_a_paper_is_trained_and_what_is_missing_ends_with_1(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = sets.get_set("audiomamba/table-2")
    cells = {name: chosen.cells[name] for name in ("Audio Mamba", "+ ImageNet")}
    monkeypatch.setattr(sets, "SETS", {chosen.name: replace(chosen, cells=cells)})
    _, _, *quick = training(clips, tmp_path, "epochs=1", "corpus=own")

    done = run("train", "own/starter", "--set-of", chosen.name, *quick)

    assert done.exit_code == 1
    assert re.search(
        r"^\| Audio Mamba \| \d+\.\d\d M \| \d+\.\d \| 43.50 \|", done.stdout, re.MULTILINE
    )
    assert "| + ImageNet |  | not run | 72.50 |" in done.stdout
    assert done.stderr.startswith("audiomamba: + ImageNet: the recipe starts from VMamba-T")
    assert len(done.stderr.splitlines()) == 1


def test_train_evaluate_and_tag_with_ones_own_clips(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"

    trained = run(*training(clips, out, "epochs=3"))
    again = run(*training(clips, out, "epochs=3"))
    other = run(*training(clips, out, "epochs=4"))
    shown = run("evaluate", out, "--data", clips)
    found = run("evaluate", out, "--data", clips, "--split", "all", "--json")
    tagged = run("tag", clips, "--model", out, "--json", "--top", 1)

    assert trained.exit_code == 0, trained.stderr
    assert again.stdout == trained.stdout
    assert other.exit_code == 1
    assert "epochs: 3, now 4" in other.stderr
    assert shown.exit_code == 0, shown.stderr
    assert "accuracy" in shown.stdout
    assert json.loads(found.stdout)["metrics"]["n_clips"] == 12
    assert len(tagged.stdout.splitlines()) == 12


# Processes


def test_a_terminal_on_stderr_gets_progress_and_stdout_stays_clean(
    model_folder: Path, good: Path
) -> None:
    terminal, side = pty.openpty()
    with subprocess.Popen(
        command("tag", *[good] * 3, "--model", model_folder, "--json"),
        stdout=subprocess.PIPE,
        stderr=side,
    ) as process:
        os.close(side)
        assert process.stdout is not None
        rows = [json.loads(line) for line in process.stdout.read().splitlines()]
        shown = b""
        with os.fdopen(terminal, "rb", buffering=0) as screen:
            try:
                while part := screen.read(4096):
                    shown += part
            except OSError:  # how Linux says that the other side of a terminal is closed
                pass

    assert process.returncode == 0
    assert len(rows) == 3
    assert b"3/3" in shown


def test_nothing_but_results_is_printed_without_a_terminal(
    model_folder: Path, good: Path, tmp_path: Path
) -> None:
    missing = tmp_path / "missing.wav"

    done = subprocess.run(
        command("tag", good, missing, "--model", model_folder, "--csv"),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert done.stderr == f"audiomamba: {missing}: no such file or folder\n"
    assert len(done.stdout.splitlines()) == 1 + 3


def test_a_file_name_that_is_no_text_is_shown_escaped(model_folder: Path, good: Path) -> None:
    odd = os.fsencode(good.parent) + b"/caf\xe9.wav"
    Path(os.fsdecode(odd)).write_bytes(good.read_bytes())
    arguments = [*map(os.fsencode, command("tag", "--json", "--model", model_folder)), odd]

    done = subprocess.run(arguments, capture_output=True, check=False)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["file"] == os.fsdecode(odd)


def interrupt(process: subprocess.Popen[str], when: Callable[[], bool]) -> str:
    """Press Ctrl-C when something has happened; return what is on stderr then."""
    deadline = time.monotonic() + 60
    while not when() and time.monotonic() < deadline:
        time.sleep(0.02)
    for _ in range(4):  # an exception that arises in a destructor is lost, as Python has it
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=20)[1]
    raise TimeoutError("Ctrl-C had no effect")


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_ends_tagging_quietly_and_keeps_what_is_done(
    model_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "tags.jsonl"
    long = write(tmp_path / "long.wav", noise(60), 16_000)
    arguments = [*[long] * 400, "--model", model_folder, "--json"]
    with (
        out.open("w") as file,
        subprocess.Popen(
            command("tag", *arguments), stdout=file, stderr=subprocess.PIPE, text=True
        ) as process,
    ):
        error = interrupt(process, lambda: out.stat().st_size > 0)

    assert process.returncode == 130
    assert error == ""
    assert [json.loads(line) for line in out.read_text().splitlines()]


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_leaves_a_table_that_the_same_call_goes_on_with(
    model_folder: Path, tmp_path: Path
) -> None:
    recordings = tmp_path / "recordings"
    recordings.mkdir()
    for place in range(300):
        write(recordings / f"{place}.wav", noise(6), 16_000)
    journal, call = tmp_path / "tags.csv.journal", (recordings, "--model", model_folder)
    call = command("tag", *call, "--out", tmp_path / "tags.csv")
    with subprocess.Popen(call, stderr=subprocess.PIPE, text=True) as process:
        error = interrupt(process, lambda: journal.exists() and journal.stat().st_size > 0)
    n_done = journal.read_bytes().count(b"\n")

    done = subprocess.run(call, capture_output=True, text=True, check=False)

    assert process.returncode == 130
    assert re.fullmatch(r"audiomamba: \d+ recordings are left; the same call goes on\n", error)
    assert done.returncode == 0, done.stderr
    assert f"audiomamba: {300 - n_done} recordings, " in done.stderr
    assert (tmp_path / "tags.csv").read_text().count("\n") == 301


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_ends_training_with_one_line(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with subprocess.Popen(
        command(*training(clips, out, "epochs=5000", "evaluate_every=5000")),
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        error = interrupt(process, (out / "state.ckpt").exists)

    assert process.returncode == 130
    (line,) = error.splitlines()
    assert "interrupted after epoch" in line


def test_a_reader_that_goes_away_is_no_error(model_folder: Path, good: Path) -> None:
    with subprocess.Popen(
        command("tag", *[good] * 50, "--model", model_folder, "--json"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        error = process.stderr.read()

    assert process.returncode == 1
    assert b"Traceback" not in error
