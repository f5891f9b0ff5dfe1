"""What commands write: by one call at a time, never over an input, completely or not at all."""

import csv
import ctypes
import errno
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import command, noise, run, write
from typer.testing import CliRunner

from audiomamba.cli import app

# The outputs of commands, each with the options that it needs beside the recordings.
OUTPUTS = {
    "tags.csv": ("tag", "--out"),
    "tags.jsonl": ("tag", "--out"),
    "tags.parquet": ("tag", "--out"),
    "tags.png": ("tag", "--picture"),
    "events.csv": ("timeline", "--out"),
    "events.json": ("timeline", "--out"),
    "events.rttm": ("timeline", "--out"),
    "events.svg": ("timeline", "--picture"),
    "vectors.npy": ("embed", "--out"),
    "vectors.parquet": ("embed", "--out"),
}
ONE_FILE = ("events.svg",)
JOURNALS = (".run.json", ".journal")


def call(name: str, folder: Path, files: list[Path], model: Path, *more: object) -> list[object]:
    """A command that writes this output."""
    verb, option = OUTPUTS[name]
    given = files[:1] if name in ONE_FILE else files
    return [verb, *given, "--model", model, option, folder / name, *more]


def content(folder: Path) -> dict[str, bytes]:
    """All that a command has left, but what is known of its call."""
    paths = (path for path in folder.iterdir() if not path.name.endswith(JOURNALS))
    return {path.name: _without_date(path.read_bytes()) for path in paths}


def _without_date(data: bytes) -> bytes:
    """A picture has the time at which it was drawn, and random names."""
    return b"" if data.startswith(b"<?xml") else data


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("recordings")
    rng = np.random.default_rng(0)
    return [
        write(folder / f"{number:02}.wav", 0.1 * rng.standard_normal(4_000), 16_000)
        for number in range(20)
    ]


# Two calls at once


def _call_at_once(arguments: list[str], start: float) -> tuple[int, str]:
    """Run a command at a time, in a process that has loaded everything."""
    import time

    torch.set_num_threads(1)
    time.sleep(max(0.0, start - time.time()))
    result = CliRunner().invoke(app, arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        return -1, repr(result.exception)
    return result.exit_code, result.stderr


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    context = get_context("forkserver")
    context.set_forkserver_preload(["audiomamba.infer.tagger", "audiomamba.cli", "matplotlib"])
    with ProcessPoolExecutor(2, context) as pool:
        yield pool


def two_calls_at_once(
    name: str, folder: Path, files: list[Path], model: Path, pool: ProcessPoolExecutor
) -> None:
    import time

    alone, together = folder / "alone", folder / "together"
    for place in (alone, together):
        place.mkdir()
    assert run(*call(name, alone, files, model)).exit_code == 0
    arguments = [str(one) for one in call(name, together, files, model)]
    start = time.time() + 0.05
    calls = [pool.submit(_call_at_once, arguments, start) for _ in range(2)]
    ended = [one.result() for one in calls]
    codes = sorted(code for code, _ in ended)
    assert codes[0] == 0
    assert codes[1] in (0, 2)
    for code, said in ended:
        if code == 2:
            (line,) = said.splitlines()
            assert "is being written by another call, process" in line or "exists already" in line
        elif codes == [0, 0]:  # the one that came after the end of the other
            assert name.startswith("tags")
    assert codes == [0, 2] or any("complete already" in said for _, said in ended)
    assert content(together) == content(alone)
    assert not [path for path in together.iterdir() if path.name.endswith((".lock", ".part"))]


@pytest.mark.parametrize("name", ["tags.csv", "events.csv", "vectors.npy"])
def test_of_two_calls_at_once_one_is_refused(
    name: str, tmp_path: Path, files: list[Path], model_folder: Path, pool: ProcessPoolExecutor
) -> None:
    two_calls_at_once(name, tmp_path, files, model_folder, pool)


@pytest.mark.slow
@pytest.mark.parametrize("name", OUTPUTS)
def test_of_two_calls_at_once_one_is_refused_again_and_again(
    name: str, tmp_path: Path, files: list[Path], model_folder: Path, pool: ProcessPoolExecutor
) -> None:
    for repetition in range(20):
        (tmp_path / str(repetition)).mkdir()
        two_calls_at_once(name, tmp_path / str(repetition), files, model_folder, pool)


def test_a_call_that_was_killed_does_not_keep_others_out(
    tmp_path: Path, files: list[Path], model_folder: Path
) -> None:
    many, out = [*files] * 30, tmp_path / "tags.csv"
    arguments = ("tag", *dict.fromkeys(many), "--model", model_folder, "--out", out)
    with subprocess.Popen(command(*arguments), stderr=subprocess.PIPE, text=True) as process:
        lock = tmp_path / ".tags.csv.lock"
        while process.poll() is None and not lock.exists():
            pass
        process.send_signal(signal.SIGKILL)
    assert run(*arguments).exit_code == 0
    with out.open(newline="") as table:
        assert [row["file"] for row in csv.DictReader(table)] == list(map(str, files))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tags.csv", "tags.csv.run.json"]


# Never over what is there


@pytest.mark.parametrize("name", OUTPUTS)
def test_what_is_there_is_replaced_only_when_that_is_asked_for(
    name: str, tmp_path: Path, files: list[Path], model_folder: Path
) -> None:
    (tmp_path / name).write_text("precious")

    refused = run(*call(name, tmp_path, files[:2], model_folder))

    assert refused.exit_code == 2
    (line,) = refused.stderr.splitlines()
    assert "exists already; another name keeps it, --overwrite replaces it" in line
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {name: "precious"}

    assert run(*call(name, tmp_path, files[:2], model_folder, "--overwrite")).exit_code == 0
    assert b"precious" not in (tmp_path / name).read_bytes()


def test_the_facts_beside_an_array_are_not_replaced_either(
    tmp_path: Path, files: list[Path], model_folder: Path
) -> None:
    (tmp_path / "vectors.json").write_text("precious")
    refused = run(*call("vectors.npy", tmp_path, files[:1], model_folder))
    assert refused.exit_code == 2
    assert "vectors.json exists already" in refused.stderr
    assert [path.read_text() for path in tmp_path.iterdir()] == ["precious"]


@pytest.mark.parametrize("name", OUTPUTS)
@pytest.mark.parametrize("option", [(), ("--overwrite",)])
def test_where_nothing_can_be_read_what_is_there_stays(
    name: str, option: tuple[str, ...], tmp_path: Path, model_folder: Path
) -> None:
    """A name that is mistyped."""
    if name.startswith("tags") and not name.endswith("png"):
        pytest.skip("tag --out has a row for a recording that is missing")
    (tmp_path / name).write_text("precious")
    arguments = call(name, tmp_path, [tmp_path / "mistyped.wav"], model_folder, *option)
    result = run(*arguments)
    assert result.exit_code in (1, 2)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {name: "precious"}


@pytest.mark.parametrize("name", ["events.csv", "vectors.npy", "vectors.parquet"])
def test_where_no_recording_is_sound_what_is_there_stays(
    name: str, tmp_path: Path, model_folder: Path
) -> None:
    (tmp_path / name).write_text("precious")
    (tmp_path / "words.wav").write_text("These are words.\n" * 50)
    arguments = call(name, tmp_path, [tmp_path / "words.wav"], model_folder, "--overwrite")
    assert run(*arguments).exit_code == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "words.wav"])
    assert (tmp_path / name).read_text() == "precious"


def test_an_empty_folder_makes_no_table(tmp_path: Path, model_folder: Path) -> None:
    """It would count as complete."""
    (tmp_path / "empty").mkdir()
    result = run("tag", tmp_path / "empty", "--model", model_folder, "--out", tmp_path / "t.csv")
    assert result.exit_code == 1
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_recordings_that_were_corrected_are_not_taken_for_done(
    tmp_path: Path, model_folder: Path
) -> None:
    good = write(tmp_path / "a.wav", noise(0.4), 16_000)
    arguments = ("tag", good, "--model", model_folder, "--out", tmp_path / "t.csv")
    assert run(*arguments).exit_code == 0
    write(good, noise(0.5), 16_000)
    again = run(*arguments)
    assert again.exit_code == 2
    assert "of other recordings, or these have changed since" in again.stderr
    assert run(*arguments, "--overwrite").exit_code == 0
    assert ",0.5," in (tmp_path / "t.csv").read_text().replace("a.wav,0.5", ",0.5")


@pytest.mark.parametrize(
    "more",
    [
        ("timeline", "--format", "csv", "--out"),
        ("timeline", "--format", "csv", "--overwrite", "--out"),
    ],
)
def test_an_output_is_never_an_input(
    more: tuple[str, ...], tmp_path: Path, model_folder: Path
) -> None:
    good = write(tmp_path / "e.wav", noise(0.4), 16_000)
    (tmp_path / "link.wav").symlink_to(good)
    labels = tmp_path / "labels.txt"
    labels.write_text("dog\n")
    before = good.read_bytes()
    model = (*("--model", model_folder), *("--labels", labels))
    for out in (good, tmp_path / "link.wav", labels, model_folder / "config.json"):
        result = run(more[0], good, *model, *more[1:], out)
        assert result.exit_code == 2, out
        assert "would be overwritten, and this call reads it" in result.stderr
    assert good.read_bytes() == before
    assert labels.read_text() == "dog\n"
    assert json.loads((model_folder / "config.json").read_text())


def test_two_outputs_of_one_name(tmp_path: Path, files: list[Path], model_folder: Path) -> None:
    twice = ("--out", tmp_path / "a.png", "--format", "csv", "--picture", tmp_path / "a.png")
    result = run("timeline", files[0], "--model", model_folder, *twice)
    assert result.exit_code == 2
    assert "are one output" in result.stderr


def test_results_of_bench_are_not_replaced_unasked(tmp_path: Path) -> None:
    (tmp_path / "results.jsonl").write_text("precious")
    result = run("bench", "norm", "--quick", "--out", tmp_path / "results.jsonl")
    assert result.exit_code == 2
    assert "exists already" in result.stderr
    assert [path.read_text() for path in tmp_path.iterdir()] == ["precious"]


# What cannot be written


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_folder_is_no_file(
    name: str, tmp_path: Path, files: list[Path], model_folder: Path
) -> None:
    (tmp_path / name).mkdir()
    for option in ((), ("--overwrite",)):
        result = run(*call(name, tmp_path, files[:1], model_folder, *option))
        assert result.exit_code == 2
        (line,) = result.stderr.splitlines()
        assert f"{tmp_path / name} is a folder; expected the name of a file" in line
    assert [path.name for path in tmp_path.rglob("*")] == [name]


@contextmanager
def full_disk() -> Iterator[Path]:
    """A folder on a small disk of its own, of which little is left."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder]
        if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("needs the right to mount a small disk")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_full_disk_is_said_and_what_is_there_stays(
    name: str, files: list[Path], model_folder: Path
) -> None:
    with full_disk() as folder:
        (folder / name).write_text("precious")
        with suppress(OSError), (folder / "ballast").open("wb", buffering=0) as ballast:
            while True:
                ballast.write(bytes(1 << 12))
        before = sorted(path.name for path in folder.iterdir())
        arguments = call(name, folder, files, model_folder, "--overwrite")
        verb = ("embed", *(arguments[1:2] * 400)) if OUTPUTS[name][0] == "embed" else ()
        result = run(*(verb or arguments[:1]), *arguments[1:])
        assert result.exit_code == 2
        (line,) = result.stderr.splitlines()
        assert "cannot be written: no space left on device" in line.lower()
        left = sorted(path.name for path in folder.iterdir())
        assert [path for path in left if not path.endswith(JOURNALS)] == [
            path for path in before if OUTPUTS[name] != ("tag", "--out") or path != name
        ]
        if OUTPUTS[name] != ("tag", "--out"):
            assert (folder / name).read_text() == "precious"


def test_a_device_is_written_to_and_stays(files: list[Path], model_folder: Path) -> None:
    call = ("timeline", files[0], "--model", model_folder, "--format", "csv", "--out")
    assert run(*call, "/dev/null").exit_code == 0
    assert Path("/dev/null").is_char_device()
    full = run(*call, "/dev/full")
    assert full.exit_code == 2
    assert "/dev/full cannot be written: no space left on device" in full.stderr


@pytest.mark.parametrize("verb", [("tag", "--csv"), ("tag",), ("timeline", "--format", "json")])
def test_output_that_cannot_be_printed_is_said(
    verb: tuple[str, ...], files: list[Path], model_folder: Path
) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command(*verb, files[0], "--model", model_folder),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr == (
        "audiomamba: standard output cannot be written: no space left on device\n"
    )


# Names


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("T.CSV", ("tag", "--out")),
        ("T.Png", ("tag", "--picture")),
        ("E.TXT", ("timeline", "--out")),
        ("E.NPY", ("embed", "--out")),
        ("E.Parquet", ("embed", "--out")),
    ],
)
def test_suffixes_in_upper_case(
    name: str, option: tuple[str, str], tmp_path: Path, files: list[Path], model_folder: Path
) -> None:
    verb, out = option
    assert run(verb, files[0], "--model", model_folder, out, tmp_path / name).exit_code == 0
    assert (tmp_path / name).stat().st_size


def test_a_file_whose_name_is_that_of_standard_input(
    tmp_path: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "a.wav", noise(0.5), 16_000).rename(tmp_path / "-")
    monkeypatch.chdir(tmp_path)
    result = run("tag", "./-", "--model", model_folder, "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["seconds"] == 0.5


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("label", ["x" * 200, "a\nb", "$x_{$", "犬", "caf\udce9", "W" * 40])
def test_labels_and_names_of_any_kind_are_drawn(
    label: str, tmp_path: Path, model_folder: Path
) -> None:
    from audiomamba import checkpoints
    from audiomamba.infer.event_picture import Spectrogram, draw_events
    from audiomamba.infer.results import Event, RecordingEvents, Tag, Tagged
    from audiomamba.infer.tag_picture import draw_tags
    from audiomamba.infer.tagger import Tagger

    tagger = Tagger(checkpoints.load(model_folder))
    name = label.replace("\n", "")[:100] + ".wav"
    file = write(tmp_path / "a.wav", noise(0.5), 16_000).rename(tmp_path / name)
    draw_tags([Tagged(file, 0.5, [Tag(label, 0.5)] * 3)] * 3, tagger, tmp_path / "tags.png")
    spectrogram = Spectrogram(tagger.front_end)
    spectrogram.listen(tagger.read(file))
    events = [Event(label[:190] + str(number), 0.1, 0.3, 0.5) for number in range(3)]
    draw_events(RecordingEvents(file, 0.5, 0.1, events), spectrogram, tmp_path / "events.svg")
    assert (tmp_path / "tags.png").stat().st_size > 10_000


# One bad item among others


@pytest.mark.parametrize("verb", ["tag", "tag --out", "timeline", "embed"])
def test_a_folder_that_cannot_be_searched_is_named_and_the_others_are_done(
    verb: str, tmp_path: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = tmp_path / "sound"
    (sound / "lost+found").mkdir(parents=True)
    good = write(sound / "good.wav", noise(0.5), 16_000)
    os.mkfifo(sound / "pipe.wav")  # which nobody writes to
    really: Callable[..., object] = os.scandir

    def scandir(path: object) -> object:  # who runs this may be root, who is never refused
        if str(path).endswith("lost+found"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return really(path)

    monkeypatch.setattr(os, "scandir", scandir)
    out = {"tag": (), "timeline": ()}.get(verb, ("--out", tmp_path / "o.parquet"))
    result = run(verb.removesuffix(" --out"), sound, "--model", model_folder, *out)

    assert result.exit_code == 1
    assert f"audiomamba: {sound / 'lost+found'}: permission denied" in result.stderr
    assert (tmp_path / "o.parquet").exists() if out else good.name in result.stdout


# A folder in which nothing may be written


def give_up_writing_anywhere() -> None:
    """Take from this process, if it is root's, the right to write where nobody may.

    It still reads everything: the package may lie where only root may.
    """
    words = ctypes.c_uint32 * 6  # effective, permitted, inheritable; twice
    header, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), words()
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.capget(header, sets) == 0
    for number in (0, 1):
        sets[number] &= ~2  # CAP_DAC_OVERRIDE
    assert libc.capset(header, sets) == 0


def without_rights(*arguments: object) -> tuple[int, str]:
    """Run a command that may not write anywhere but where its user may; its code and stderr."""
    read, write_to = os.pipe()
    child = os.fork()
    if child == 0:
        give_up_writing_anywhere()
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        failed = result.exception is not None and not isinstance(result.exception, SystemExit)
        said = repr(result.exception) if failed else result.stderr
        os.write(write_to, json.dumps([result.exit_code, said]).encode())
        os._exit(0)
    os.close(write_to)
    with open(read, "rb") as answer:  # noqa: PTH123  # a descriptor
        data = answer.read()
    os.waitpid(child, 0)
    code, said = json.loads(data)
    return code, said


@pytest.mark.parametrize("name", ["tags.csv", "tags.png", "events.csv", "vectors.npy"])
@pytest.mark.parametrize("is_there", [False, True])
def test_a_folder_that_is_read_only_is_said_in_one_line(
    name: str, is_there: bool, files: list[Path], model_folder: Path
) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "before").mkdir()  # where it can be written, so that all is imported
        assert run(*call(name, Path(place) / "before", files[:1], model_folder)).exit_code == 0
        folder = Path(place) / "folder"
        folder.mkdir()
        Path(place).chmod(0o755)
        sound = folder / "a.wav"
        sound.write_bytes(files[0].read_bytes())
        model = folder / "model"
        shutil.copytree(model_folder, model)
        if is_there:
            (folder / name).write_text("precious")
        for path in (folder, model):
            path.chmod(0o555)
        before = sorted(path.name for path in folder.iterdir())
        try:
            more = ("--overwrite",) if is_there else ()
            code, said = without_rights(*call(name, folder, [sound], model, *more))
            after = sorted(path.name for path in folder.iterdir())
        finally:
            folder.chmod(0o755)
        assert code == 2, said
        (line,) = said.splitlines()
        assert line.startswith("audiomamba: ")
        assert "cannot be written: permission denied" in line.lower()
        assert after == before
        if is_there:
            assert (folder / name).read_text() == "precious"
