"""`audiomamba timeline` and `audiomamba embed`."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
from typer.testing import CliRunner, Result

from audiomamba import checkpoints
from audiomamba.cli import app

RATE = 16_000
ROOSTER = "Crowing, cock-a-doodle-doo"
RECORDINGS = Path(__file__).parents[2] / "demo" / "recordings"


def run(*arguments: object) -> Result:
    """Run a command in this process; what it does not catch is raised."""
    return CliRunner().invoke(app, [str(one) for one in arguments], catch_exceptions=False)


@pytest.fixture(scope="module")
def rooster(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half a minute of faint noise with a rooster after ten seconds."""
    clip, rate = soundfile.read(RECORDINGS / "rooster.wav")
    clip = clip if clip.ndim == 1 else clip.mean(axis=1)
    samples = 0.001 * np.random.default_rng(0).standard_normal(30 * rate)
    samples[10 * rate : 10 * rate + len(clip)] += clip
    path = tmp_path_factory.mktemp("recordings") / "rooster.flac"
    soundfile.write(path, samples, rate)
    return path


def test_a_sound_is_found_and_drawn(rooster: Path, tmp_path: Path) -> None:
    picture = tmp_path / "rooster.png"

    result = run("timeline", rooster, "--format", "json", "--picture", picture)

    assert result.exit_code == 0
    row = json.loads(result.stdout)
    (event,) = [one for one in row["events"] if one["label"] == ROOSTER]
    assert abs(event["start_s"] - 10) < 2
    assert row["seconds"] == 30.0
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_threshold_may_differ_for_a_class(rooster: Path) -> None:
    def labels(*options: object) -> set[str]:
        result = run("timeline", rooster, "--format", "csv", *options)
        return {row["label"] for row in csv.DictReader(io.StringIO(result.stdout))}

    low = labels("--threshold", "0.02")

    assert ROOSTER in low
    assert len(low) > 1
    assert labels("--threshold", "0.02", "--threshold", f"{ROOSTER}=1") == low - {ROOSTER}


def test_a_bad_recording_is_named_and_the_others_are_done(rooster: Path, tmp_path: Path) -> None:
    bad, out = tmp_path / "bad.wav", tmp_path / "events.rttm"
    bad.write_text("no sound")

    result = run("timeline", bad, tmp_path / "none.wav", rooster, "--out", out)

    assert result.exit_code == 1
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 2
    assert {line.split()[1] for line in out.read_text().splitlines()} == {"rooster"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--threshold", "high"], "--threshold 'high' is not understood"),
        (["--threshold", f"{ROOSTER[:-1]}=0.5"], f"did you mean {ROOSTER}"),
        (["--threshold", "2"], "threshold is 2.0; expected a number above 0, at most 1"),
        (["--gap", "-1"], "gap_s is -1.0"),
        (["--step", "0.001"], "a step of 0.001 s was asked for"),
        (["--mode", "magic"], "unknown mode 'magic'"),
        (["--window", "60"], "a window of 60.0 s was asked for"),
        (["--format", "xml"], "format 'xml' is not known"),
        (["--out", "events.xml"], "events.xml: no format for events has this suffix"),
        (["--picture", "events.bmp"], "events.bmp: no format for a picture has this suffix"),
    ],
)
def test_wrong_calls_end_with_2_and_one_line(
    rooster: Path, options: list[str], message: str
) -> None:
    result = run("timeline", rooster, *options)

    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert message in result.stderr
    assert result.stdout == ""


def test_embeddings_tell_the_hash_of_the_model(rooster: Path, tmp_path: Path) -> None:
    out = tmp_path / "e.parquet"

    result = run("embed", rooster, tmp_path / "none.wav", "--out", out, "--dtype", "float16")

    assert result.exit_code == 1
    table = pq.read_table(out)
    facts = json.loads(table.schema.metadata[b"audiomamba"])
    assert table.num_rows == 1
    assert facts["model_sha256"] == checkpoints.fingerprint(checkpoints.find("general"))


def test_frames_are_embedded_with_a_step(rooster: Path, tmp_path: Path) -> None:
    result = run("embed", rooster, "--out", tmp_path / "e.npy", "--frames", "--step", "0.25")

    assert result.exit_code == 0
    assert np.load(tmp_path / "e.npy").shape[0] == 120


def test_embeddings_of_an_unknown_format_are_refused(rooster: Path, tmp_path: Path) -> None:
    result = run("embed", rooster, "--out", tmp_path / "e.csv")

    assert result.exit_code == 2
    assert "expected a name that ends in .parquet or .npy" in result.stderr
