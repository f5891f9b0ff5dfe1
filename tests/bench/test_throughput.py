"""From files to a table: the sides do what they say, in turns."""

import io
import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from audiomamba import audio
from audiomamba.bench import peers
from audiomamba.bench.throughput import report, sides, turns
from audiomamba.bench.throughput.sides import Side
from audiomamba.cli import app
from audiomamba.errors import BackendError

DEMO = Path(__file__).parents[2] / "demo" / "recordings"
FILES = sorted(file for file in DEMO.iterdir() if file.suffix in (".wav", ".mp3", ".ogg"))[:4]
PARTS = ["reading", "decoding", "resampling", "features", "model", "writing"]


def small(name: str, kind: str, model: str = "general", **others: object) -> Side:
    return Side(name=name, kind=kind, model=model, n_files=4, n_threads=1, **others)  # type: ignore[arg-type]


def test_sides_take_turns_and_the_table_and_the_lines_say_what_was_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    group = (small("ours", "tag"), small("both", "tag", n_processes=2, pinned=True))
    monkeypatch.setattr(report, "sides", lambda *_: (group,))
    lines, shown = io.StringIO(), io.StringIO()

    report.measure(
        FILES,
        model="general",
        n_workers=2,
        n_threads=1,
        quick=True,
        lines=lines,
        echo=lambda text: print(text, file=shown),
    )

    parts, ours, both = map(json.loads, lines.getvalue().splitlines())
    assert list(parts["parts_ms"]) == PARTS
    assert min(parts["parts_ms"].values()) > 0
    assert (ours["n_files"], both["n_files"]) == (len(FILES), len(FILES))
    assert (ours["speed_to_base"], ours["share_of_processes"]) == (1.0, 1.0)
    assert both["share_of_processes"] == pytest.approx(both["speed_to_base"] / 2)
    assert ours["files_per_s"] == pytest.approx(len(FILES) / ours["wall_s"][0])
    assert ours["macs_per_window"] == 94_382_080
    assert ours["sound_s"] == pytest.approx(
        sum(len(audio.load(file, sample_rate=8_000)) / 8_000 for file in FILES), rel=0.05
    )
    for text in ("decoding", "ours", "2 x 1", "YAMNet"):
        assert text in shown.getvalue()


@pytest.mark.parametrize(("kind", "model"), [("efficientat", "mn02_as"), ("random", "aum_tiny")])
def test_a_side_does_every_file(kind: str, model: str) -> None:
    side = small("one", kind, model)
    assert sides.make(side)(FILES[:2]) == {}
    assert sides.macs_of(side) > 1e6


def test_the_spectrogram_of_the_other_script_is_the_same() -> None:
    waveform = audio.load(FILES[0], sample_rate=32_000)
    front_end = sides.EFFICIENTAT_FRONT_END.unpadded(len(waveform))
    expected = audio.features(waveform, front_end)
    found = sides.mel_by_stft(waveform)[0]
    assert found.shape == expected.shape
    # The last frame looks beyond the end, where one of them reflects a sample more.
    torch.testing.assert_close(found[:-1], expected[:-1], rtol=1e-4, atol=1e-4)


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "find_spec", lambda _: None)
    with pytest.raises(BackendError, match="not installed: transformers"):
        sides.make(small("AST", "pipeline", "ast_base"))


def test_what_cannot_run_has_a_line_that_says_why() -> None:
    (found,) = turns.take_turns([small("none", "tag", "no-such")], FILES, n_threads=1, n_rounds=1)
    assert "no-such" in found.missing
    assert found.wall_s == []


def test_files_are_chosen_evenly_and_shards_have_all_suffixes() -> None:
    files = [Path(f"{number:03}{suffix}") for number in range(50) for suffix in (".wav", ".mp3")]
    found = turns.chosen(files, 20)
    assert [file.suffix for file in found] == [".mp3"] * 10 + [".wav"] * 10
    assert len(set(found)) == 20
    assert turns.chosen(files[:3], 20) == sorted(files[:3], key=lambda it: (it.suffix, it))


def test_without_a_folder_nothing_runs() -> None:
    found = CliRunner().invoke(app, ["bench", "throughput"])
    assert found.exit_code == 2
    assert "no folder" in found.output
