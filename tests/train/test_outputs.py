"""What training writes: nothing is lost unasked, and what has changed is noticed."""

import json
import os
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiomamba import checkpoints, infer, train
from audiomamba.errors import AudioMambaError, ConfigError, DataError, TrainingError
from audiomamba.output_folders import visible_names
from audiomamba.outputs import sole_writer

TONES_HZ = {"high": 3000.0, "low": 300.0}
N_CLIPS = 6


def write_tone(path: Path, hz: float, *, loudness: float = 0.3, seed: int = 0) -> Path:
    time_s = np.arange(6_400) / 16_000
    noise = np.random.default_rng(seed).standard_normal(len(time_s))
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, loudness * (np.sin(2 * np.pi * hz * time_s) + 0.1 * noise), 16_000)
    return path


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """A folder per class."""
    for label, hz in TONES_HZ.items():
        for take in range(N_CLIPS):
            write_tone(tmp_path / "clips" / label / f"{take}.wav", hz, seed=take)
    return tmp_path / "clips"


@pytest.fixture
def start(tmp_path: Path, save_random: Callable[..., Path]) -> Path:
    """A model to start from."""
    return save_random(tmp_path / "start", labels=("a", "b", "c"))


def probe(clips: Path, out: Path, start: Path | str, **more: object) -> train.FinetuneResult:
    return train.finetune(
        clips, out, model=str(start), probe=True, n_threads=1, progress=False, **more
    )


def files(folder: Path) -> dict[str, bytes]:
    """All that is in a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@contextmanager
def full_disk(n_bytes: int) -> Iterator[None]:
    """No file grows beyond so many bytes, as on a disk that gets full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_model_is_not_overwritten_by_one_that_starts_from_it(clips, start):
    before = files(start)
    for overwrite in (False, True):
        with pytest.raises(ConfigError, match="would be overwritten, and this call reads it"):
            probe(clips, start, start, overwrite=overwrite)
    assert files(start) == before


def test_a_model_that_is_there_is_replaced_only_if_that_is_asked_for(
    clips, start, tmp_path, save_random
):
    out = save_random(tmp_path / "mine", labels=("x", "y"))
    before = files(out)
    with pytest.raises(ConfigError, match=r"other things \(config.json, model.safetens"):
        probe(clips, out, start)
    assert files(out) == before
    probe(clips, out, start, overwrite=True)
    assert checkpoints.load(out).labels == ("high", "low")


def test_another_request_is_refused_and_the_same_goes_on(clips, start, tmp_path):
    out = tmp_path / "mine"
    probe(clips, out, start)
    model = (out / "model.safetensors").read_bytes()
    assert probe(clips, out, start).thresholds  # the same call again
    with pytest.raises(TrainingError, match=r"minutes: 15.0, now 5.*--overwrite replaces it"):
        probe(clips, out, start, minutes=5)
    assert (out / "model.safetensors").read_bytes() == model
    probe(clips, out, start, minutes=5, overwrite=True)
    assert json.loads((out / "finetune.json").read_text())["request"]["minutes"] == 5


def test_a_run_of_train_is_not_overwritten(clips, start, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "run.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"holds other things \(run.json\)"):
        probe(clips, run, start)
    assert files(run) == {"run.json": b"{}"}


def test_clips_that_were_corrected_under_their_names_are_noticed(clips, start, tmp_path):
    out = tmp_path / "mine"
    probe(clips, out, start)
    before = files(out)
    wrong = clips / "low" / "3.wav"
    status = wrong.stat()
    write_tone(wrong, 350.0, seed=99)
    os.utime(wrong, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert wrong.stat().st_size == status.st_size
    with pytest.raises(TrainingError, match=r"what the clips hold has changed since.*--overwrite"):
        probe(clips, out, start)
    after = files(out)
    assert {name: after[name] for name in before if name != "journal.jsonl"} == {
        name: before[name] for name in before if name != "journal.jsonl"
    }
    again = probe(clips, out, start, overwrite=True)
    assert again.folder == out
    assert probe(clips, out, start).thresholds == again.thresholds


@pytest.mark.usefixtures("clips")
def test_a_table_that_has_changed_is_noticed(start, tmp_path):
    rows = [f"clips/{label}/{take}.wav,{label}" for label in TONES_HZ for take in range(N_CLIPS)]
    table = tmp_path / "clips.csv"
    table.write_text("\n".join(["filename,label", *rows]))
    out = tmp_path / "mine"
    probe(table, out, start)
    table.write_text("\n".join(["filename,label", *rows[:-1]]))
    with pytest.raises(TrainingError, match="the clips, their labels or their splits have changed"):
        probe(table, out, start)


def test_a_table_in_the_folder_of_the_model_is_not_overwritten(clips, start, tmp_path):
    out = tmp_path / "mine"
    probe(clips, out, start)
    before = (out / "confusions.csv").read_bytes(), (out / "manifest.jsonl").read_bytes()
    for name in ("confusions.csv", "manifest.jsonl"):
        with pytest.raises(ConfigError, match=f"{name} would be overwritten, and this call reads"):
            probe(out / name, out, start, overwrite=True)
    assert before == ((out / "confusions.csv").read_bytes(), (out / "manifest.jsonl").read_bytes())


def test_a_start_that_has_changed_is_noticed(clips, start, tmp_path, save_random):
    probe(clips, tmp_path / "mine", start)
    save_random(start, labels=("a", "b", "c"), seed=7)
    with pytest.raises(TrainingError, match="the model to start from has changed since"):
        probe(clips, tmp_path / "mine", start)


@pytest.mark.parametrize("place", ["mine", "runs/mine", "low/runs/mine"])
def test_the_model_may_stand_in_the_data_and_is_no_class(clips, start, tmp_path, place):
    for _ in range(2):
        found = probe(clips, clips / place, start)
        assert found.n_training == 2 * (N_CLIPS - 1)
    assert probe(clips, tmp_path / "other", start).n_training == 2 * (N_CLIPS - 1)


@pytest.mark.parametrize("place", ["", "low"])
def test_the_data_are_not_where_the_model_goes(clips, start, place):
    before = files(clips)
    with pytest.raises(ConfigError, match=r"this call reads it|holds other things \(0.wav"):
        probe(clips, clips / place, start)
    assert files(clips) == before


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"minutes": float("inf")}, "minutes is inf; expected a number above 0"),
        ({"minutes": float("nan")}, "minutes is nan; expected a number above 0"),
        ({"minutes": -1.0}, "minutes is -1.0; expected a number above 0"),
        ({"changes": ["epochs=3"]}, "a probe has none of"),
        ({"n_threads": 10**6}, "n_threads is 1000000; expected 1 to"),
        ({"start": "nowhere"}, "unknown model"),
        ({"source": "nowhere"}, "no such file or folder"),
        ({"source": "few"}, "expected at least 5 clips per class"),
        ({"source": "silent"}, "all training clips of high, low are silent"),
    ],
)
@pytest.mark.usefixtures("clips")
def test_a_refused_call_leaves_nothing(start, tmp_path, options, reason):
    for label, hz in TONES_HZ.items():
        write_tone(tmp_path / "few" / label / "1.wav", hz)
        for take in range(N_CLIPS):
            write_tone(tmp_path / "silent" / label / f"{take}.wav", hz, loudness=1e-5)
    options = {"source": "clips", "start": start, "n_threads": 1, **options}
    source, model = tmp_path / options.pop("source"), str(options.pop("start"))
    out = tmp_path / "new" / "mine"
    with pytest.raises(AudioMambaError, match=reason) as caught:
        train.finetune(source, out, model=model, probe=True, progress=False, **options)
    assert "\n" not in str(caught.value)
    assert not out.parent.exists()


def test_one_class_may_be_silence(clips, start, tmp_path):
    for take in range(N_CLIPS):
        write_tone(clips / "silence" / f"{take}.wav", 1.0, loudness=0.0)
    assert probe(clips, tmp_path / "mine", start).held_out.metrics.n_clips == 3


def test_names_that_are_not_utf8_become_a_model_that_tags(clips, start, tmp_path):
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/mod\xe8le"))
    (clips / "low").rename(Path(os.fsdecode(os.fsencode(clips) + b"/bass\xe9")))
    probe(clips, odd, start)
    tags = infer.load(str(odd)).tag(clips / "high" / "0.wav")
    assert {tag.label for tag in tags} == {"high", "bass\\udce9"}


def test_a_second_call_is_refused_while_the_first_writes(clips, start, tmp_path, corpus, recipe):
    for out in (tmp_path / "a", tmp_path / "b", tmp_path / "c"):
        with sole_writer(out), pytest.raises(ConfigError, match="being written by another call"):
            probe(clips, out, start)
        with sole_writer(out), pytest.raises(ConfigError, match="being written by another call"):
            train.fit(recipe, corpus, out, n_threads=1, progress=False)
        with sole_writer(out), pytest.raises(ConfigError, match="being written by another call"):
            train.cross_validate(recipe, corpus, out, progress=False)
        assert not out.exists()


@pytest.mark.parametrize("n_bytes", [0, 300, 20_000])
def test_a_full_disk_is_one_line_and_what_was_there_stays(clips, start, tmp_path, n_bytes):
    out = tmp_path / "mine"
    with full_disk(n_bytes), pytest.raises(ConfigError, match="cannot be written: file too large"):
        probe(clips, out, start)
    assert not out.exists()
    probe(clips, out, start)
    before = files(out)
    with full_disk(n_bytes), pytest.raises(ConfigError, match="cannot be written: file too large"):
        probe(clips, out, start, minutes=5, overwrite=True)
    after = files(out)
    assert not [name for name in after if name.endswith(".part")]
    for name in ("model.safetensors", "config.json"):
        assert after[name] == before[name]


def test_a_disk_that_gets_full_in_training_is_one_line_and_the_run_goes_on(
    corpus, recipe, tmp_path
):
    run = tmp_path / "run"
    with full_disk(40_000), pytest.raises(ConfigError, match="run cannot be written"):
        train.fit(recipe, corpus, run, n_threads=1, progress=False)
    assert not [path for path in run.rglob("*") if path.suffix == ".part" and path.is_file()]
    done = train.fit(recipe, corpus, run, n_threads=1, progress=False)
    assert done.metrics["epoch"] == recipe.epochs


def test_a_run_is_not_put_beside_other_things(corpus, recipe, tmp_path, save_random):
    model = save_random(tmp_path / "model")
    before = files(model)
    for out in (model, model / "config.json"):
        with pytest.raises(ConfigError, match=r"holds other things \(config.json|is a file"):
            train.fit(recipe, corpus, out, n_threads=1, progress=False)
        with pytest.raises(ConfigError, match=r"holds other things \(config.json|is a file"):
            train.cross_validate(recipe, corpus, out, progress=False)
    assert files(model) == before


def test_a_run_on_clips_that_have_changed_is_not_taken_for_done(clips, recipe, tmp_path):
    own = replace(recipe, corpus="own", epochs=1, warmup_epochs=0)
    run = tmp_path / "run"
    first = train.fit(own, clips, run, n_threads=1, progress=False)
    assert train.fit(own, clips, run, n_threads=1, progress=False).metrics == first.metrics
    write_tone(clips / "low" / "0.wav", 350.0, seed=99)
    with pytest.raises(TrainingError, match="a run on other clips, labels or splits, which have"):
        train.fit(own, clips, run, n_threads=1, progress=False)


def test_an_earlier_run_without_a_hash_of_its_clips_goes_on(clips, recipe, tmp_path):
    own = replace(recipe, corpus="own", epochs=1, warmup_epochs=0)
    first = train.fit(own, clips, tmp_path / "run", n_threads=1, progress=False)
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    del record["data"]["contents"]
    (tmp_path / "run" / "run.json").write_text(json.dumps(record))
    again = train.fit(own, clips, tmp_path / "run", n_threads=1, progress=False)
    assert again.metrics == first.metrics


def test_train_refuses_what_it_cannot_learn_from_and_leaves_nothing(clips, recipe, tmp_path):
    own = replace(recipe, corpus="own")
    one = tmp_path / "one"
    shutil.copytree(clips / "low", one / "low")
    for take in range(N_CLIPS):
        write_tone(tmp_path / "silent" / "a" / f"{take}.wav", 100, loudness=0)
        write_tone(tmp_path / "silent" / "b" / f"{take}.wav", 200, loudness=0)
    front_end = replace(own.front_end, mean=-5.0, std=5.0)
    known = replace(own, front_end=front_end, measure_statistics=False)
    for source, reason in ((one, "all clips are labeled 'low'"), (tmp_path / "silent", "silent")):
        with pytest.raises(DataError, match=reason):
            train.fit(known, source, tmp_path / "run", n_threads=1, progress=False)
        assert not (tmp_path / "run").exists()


def test_an_evaluation_that_cannot_be_kept_is_still_shown(corpus, recipe, tmp_path, caplog):
    quick = replace(recipe, epochs=1, warmup_epochs=0)
    run = train.fit(quick, corpus, tmp_path / "run", n_threads=1, progress=False).folder
    with sole_writer(run / "evaluation.json"):
        found = train.evaluate(run, corpus, n_resamples=0)
    assert found.metrics.n_clips == 12
    assert "not kept for a report" in caplog.text
    assert "evaluation.json" not in visible_names(run)
