import json
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
import torch

import audiomamba
from audiomamba import audio, checkpoints
from audiomamba.errors import ConfigError, MissingDependencyError
from audiomamba.infer import Embedded, Failed, Framing, Tagger, embed_files

RATE = 16_000


@pytest.fixture(scope="module", params=["model_folder", "any_length_folder"])
def tagger(request: pytest.FixtureRequest) -> Tagger:
    return audiomamba.load(request.getfixturevalue(request.param))


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Two recordings, and a damaged one between them."""
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{name}.flac" for name in ("a", "bad", "c")]
    for path, seconds in zip(paths, (0.9, 30.0, 2.05), strict=True):
        soundfile.write(path, 0.1 * rng.standard_normal(int(seconds * RATE)), RATE)
    paths[1].write_bytes(paths[1].read_bytes()[:100_000])
    return paths


def test_a_recording_of_one_window_has_the_models_embedding(tagger: Tagger) -> None:
    samples = 0.1 * torch.randn(tagger.front_end.n_samples)
    with torch.inference_mode():
        expected = tagger.model.embed(audio.features(samples[None], tagger.front_end))[0]

    torch.testing.assert_close(tagger.embed((samples, RATE)), expected)


def test_windows_count_by_what_they_cover(tagger: Tagger) -> None:
    n_samples = tagger.front_end.n_samples
    samples = 0.1 * torch.randn(n_samples + n_samples // 4)
    parts = [tagger.embed((part, RATE)) for part in samples.split(n_samples)]

    embedding = tagger.embed((samples, RATE))

    weighted = (len(samples[:n_samples]) * parts[0] + n_samples // 4 * parts[1]) / len(samples)
    torch.testing.assert_close(embedding, weighted)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_recording_is_a_row_of_parquet(
    tagger: Tagger, files: list[Path], tmp_path: Path, dtype: str
) -> None:
    out = tmp_path / "e.parquet"

    results = list(embed_files(tagger, files, out, dtype=dtype, about={"model_sha256": "0a"}))

    assert [type(result) for result in results] == [Embedded, Failed, Embedded]
    table = pq.read_table(out)
    assert table.column_names == ["file", "seconds", "embedding"]
    assert table["file"].to_pylist() == [str(files[0]), str(files[2])]
    assert table["seconds"].to_pylist() == [0.9, 2.05]
    values = np.stack(table["embedding"].to_numpy())
    assert values.dtype == dtype
    expected = np.stack([tagger.embed(file).numpy() for file in (files[0], files[2])])
    np.testing.assert_array_equal(values, expected.astype(dtype))
    facts = json.loads(table.schema.metadata[b"audiomamba"])
    assert facts == {
        "model": tagger.name,
        "model_sha256": "0a",
        "dtype": dtype,
        "sample_rate": RATE,
        "step_s": None,
    }


def test_every_moment_is_a_row_of_parquet(
    tagger: Tagger, files: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "e.parquet"

    results = list(embed_files(tagger, files, out, framing=Framing(step_s=0.5)))

    table = pq.read_table(out)
    assert [one.n_rows for one in results if isinstance(one, Embedded)] == [2, 5]
    assert table["start_s"].to_pylist() == [0.0, 0.5, 0.0, 0.5, 1.0, 1.5, 2.0]
    assert table["file"].to_pylist() == [str(files[0])] * 2 + [str(files[2])] * 5


@pytest.mark.parametrize("framing", [None, Framing(step_s=0.5)])
def test_an_array_has_a_json_beside_it(
    tagger: Tagger, files: list[Path], tmp_path: Path, framing: Framing | None
) -> None:
    out = tmp_path / "e.npy"

    list(embed_files(tagger, files, out, framing=framing, dtype="float16"))

    values, facts = np.load(out), json.loads((tmp_path / "e.json").read_text("utf-8"))
    assert values.shape == (2 if framing is None else 7, facts["dim"])
    assert values.dtype == np.float16
    assert facts["model"] == tagger.name
    first, second = facts["recordings"]
    assert (first["file"], first["first_row"]) == (str(files[0]), 0)
    assert second["first_row"] == (1 if framing is None else 2)


@pytest.mark.parametrize("name", ["e.npy", "e.parquet"])
def test_the_same_call_gives_the_same_bytes(
    tagger: Tagger, files: list[Path], tmp_path: Path, name: str
) -> None:
    list(embed_files(tagger, files, tmp_path / name, framing=Framing()))
    first = (tmp_path / name).read_bytes()

    list(embed_files(tagger, files, tmp_path / name, framing=Framing()))

    assert (tmp_path / name).read_bytes() == first


@pytest.mark.parametrize("name", ["e.npy", "e.parquet"])
def test_without_one_good_recording_the_file_is_there_and_empty(
    tagger: Tagger, files: list[Path], tmp_path: Path, name: str
) -> None:
    list(embed_files(tagger, [files[1]], tmp_path / name))

    read = np.load if name.endswith("npy") else pq.read_table
    assert len(read(tmp_path / name)) == 0


@pytest.mark.parametrize("name", ["e.npy", "e.parquet"])
def test_a_call_that_is_broken_off_leaves_the_old_file(
    tagger: Tagger, files: list[Path], tmp_path: Path, name: str
) -> None:
    out = tmp_path / name
    out.write_text("old")

    results = embed_files(tagger, files, out)
    next(results)
    results.close()  # type: ignore[attr-defined]

    assert out.read_text() == "old"
    assert [path.name for path in tmp_path.glob("e.*")] == [name]


@pytest.mark.parametrize(
    ("name", "dtype", "message"),
    [
        (
            "e.csv",
            "float32",
            r"e\.csv: no format .* a name that ends in \.parquet or \.npy",
        ),
        ("e.npy", "float64", "embeddings as 'float64'; expected float32 or float16"),
        ("nowhere/e.npy", "float32", "there is no folder"),
    ],
)
def test_what_cannot_be_written_is_refused(
    tagger: Tagger, tmp_path: Path, name: str, dtype: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        list(embed_files(tagger, [], tmp_path / name, dtype=dtype))


def test_without_pyarrow_the_extra_is_named(
    tagger: Tagger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    with pytest.raises(MissingDependencyError, match=r"audiomamba\[parquet\]"):
        list(embed_files(tagger, [], tmp_path / "e.parquet"))


def test_the_fingerprint_changes_with_weights_and_settings(
    model_folder: Path, any_length_folder: Path, tmp_path: Path
) -> None:
    prints = {checkpoints.fingerprint(model_folder), checkpoints.fingerprint(any_length_folder)}
    checkpoint = checkpoints.load(model_folder)
    checkpoints.save(tmp_path / "same", checkpoint)
    next(checkpoint.model.parameters()).data += 1
    checkpoints.save(tmp_path / "other", checkpoint)

    assert checkpoints.fingerprint(tmp_path / "same") in prints
    prints.add(checkpoints.fingerprint(tmp_path / "other"))
    assert len(prints) == 3
