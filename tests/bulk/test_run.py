import resource
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
from bulk_runs import call, command, files_of, plan, rows_of, run, spoilt_environment, write_clips

import audiomamba
from audiomamba import bulk, infer
from audiomamba.bulk import Plan
from audiomamba.bulk.launch import Share


def test_every_file_has_one_row(clips: Path, expected: list[dict]) -> None:
    assert sorted(files_of(expected)) == sorted(map(str, clips.rglob("*.wav")))
    assert not any(row["error"] for row in expected)


def test_rows_say_what_the_other_commands_say(model_folder: Path, tmp_path: Path) -> None:
    clips = write_clips(tmp_path / "clips", 12)
    computation = bulk.Computation(tags=True, timeline=True, embeddings=True, top=None)
    out = str(tmp_path / "out")
    recordings = bulk.sources.list_recordings(str(clips))
    bulk.launch(bulk.make_plan(recordings, out, model_folder, computation, part_files=5))
    tagger = audiomamba.load(model_folder)

    rows = rows_of(out, tmp_path / "rows.jsonl")

    assert len(rows) == 12
    for row in rows:
        scores = {tag.label: tag.score for tag in tagger.tag(row["file"])}
        assert {tag["label"]: tag["score"] for tag in row["tags"]} == pytest.approx(
            scores, abs=2e-6
        )
        assert row["embedding"] == pytest.approx(tagger.embed(row["file"]).tolist(), abs=1e-5)
        (found,) = infer.find_events_in_files(tagger, [Path(row["file"])])
        assert [event["label"] for event in row["events"]] == [one.label for one in found.events]
        assert row["seconds"] == pytest.approx(found.seconds, abs=1e-6)


def test_a_long_recording_is_held_in_a_temporary_file_of_limited_size(
    model_folder: Path, tmp_path: Path
) -> None:
    clips = write_clips(tmp_path / "clips", 3)
    noise = 0.1 * np.random.default_rng(1).standard_normal(130 * 16_000)
    soundfile.write(clips / "long.wav", noise, 16_000)
    scores = {tag.label: tag.score for tag in audiomamba.load(model_folder).tag(clips / "long.wav")}

    for name, spool in {"ours": "1", "small": "0.001"}.items():
        plan(tmp_path / name, model_folder, clips)
        assert run("run", tmp_path / name, "--spool", spool).exit_code == 0
    ours, small = (
        {Path(row["file"]).stem: row for row in rows_of(tmp_path / name, tmp_path / "rows.jsonl")}
        for name in ("ours", "small")
    )

    assert ours["long"]["seconds"] == 130
    found = {tag["label"]: tag["score"] for tag in ours["long"]["tags"]}
    assert found == pytest.approx(scores, abs=2e-6)
    assert "decoded it takes more than the 0.001 GB of --spool" in small["long"]["error"]
    assert [name for name, row in small.items() if row["error"]] == ["long"]


def test_shares_together_are_the_whole(
    clips: Path, model_folder: Path, expected: list[dict], tmp_path: Path
) -> None:
    plan(tmp_path / "out", model_folder, clips)
    opened = Plan.open(str(tmp_path / "out"))

    for index in range(3):
        bulk.launch(opened, Share(index, 3))
        assert bulk.status_of(opened).is_complete == (index == 2)

    assert rows_of(tmp_path / "out", tmp_path / "rows.jsonl") == expected


def test_two_runs_at_once_make_the_same_files(
    clips: Path, model_folder: Path, undisturbed: Path, tmp_path: Path
) -> None:
    plan(tmp_path / "out", model_folder, clips)

    runs = [subprocess.Popen(command("run", tmp_path / "out", "--shard", "0/1")) for _ in range(2)]

    assert [run.wait() for run in runs] == [0, 0]
    for folder in ("parts", "done"):
        ours, theirs = tmp_path / "out" / folder, undisturbed / folder
        assert sorted(one.name for one in ours.iterdir()) == sorted(
            one.name for one in theirs.iterdir()
        )
        assert all((theirs / one.name).read_bytes() == one.read_bytes() for one in ours.iterdir())


def test_files_that_end_or_hang_their_process_are_rows(model_folder: Path, tmp_path: Path) -> None:
    clips = write_clips(tmp_path / "clips", 20)
    bad = ("ends-its-process", "hangs", "no-sound", "ends-its-worker")
    for number, name in enumerate(bad, start=3):
        (clips / "000" / f"00000{number}.wav").rename(clips / f"{name}.wav")
    (clips / "no-sound.wav").write_bytes(b"RIFF")
    plan(tmp_path / "out", model_folder, clips)

    done = call(
        "run", tmp_path / "out", "--time-limit", "1", env=spoilt_environment(tmp_path / "spoilt")
    )

    assert done.returncode == 0, done.stderr
    assert "20 files, 4 of them failed" in done.stderr
    rows = rows_of(tmp_path / "out", tmp_path / "rows.jsonl")
    errors = {Path(row["file"]).stem: row["error"] for row in rows if row["error"]}
    assert sorted(errors) == sorted(bad)
    assert "ended the process (with exit code 7), tried 2 times" in errors["ends-its-process"]
    assert "decoding took longer than 1 s, tried 2 times" in errors["hangs"]
    assert "ended the process twice" in errors["ends-its-worker"]
    assert "4 workers were started again" in done.stderr
    assert len(rows) == 20
    assert not list(bulk.verify(Plan.open(str(tmp_path / "out"))))


def test_a_full_disk_is_one_line_and_the_same_call_goes_on(
    clips: Path, model_folder: Path, expected: list[dict], tmp_path: Path
) -> None:
    plan(tmp_path / "out", model_folder, clips)

    def fill_the_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    done = call("run", tmp_path / "out", preexec_fn=fill_the_disk)

    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "cannot be written: file too large" in done.stderr
    assert bulk.status_of(Plan.open(str(tmp_path / "out"))).n_parts_done == 0
    bulk.launch(Plan.open(str(tmp_path / "out")))
    assert rows_of(tmp_path / "out", tmp_path / "rows.jsonl") == expected


def test_slurm_says_which_share(
    clips: Path, model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan(tmp_path / "out", model_folder, clips)
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "12")
    monkeypatch.setenv("SLURM_ARRAY_TASK_MIN", "10")
    monkeypatch.setenv("SLURM_ARRAY_TASK_COUNT", "4")

    assert run("run", tmp_path / "out").exit_code == 0

    assert [one.name for one in sorted((tmp_path / "out" / "done").iterdir())] == [
        "00000002.json",
        "00000006.json",
    ]


def test_what_cannot_be_is_refused(undisturbed: Path) -> None:
    for arguments, message in {
        ("--shard", "3/3"): "expected 0/N to N-1/N",
        ("--shard", "first"): "expected I/N",
    }.items():
        done = run("run", undisturbed, *arguments)
        assert done.exit_code == 2
        assert message in done.stderr
