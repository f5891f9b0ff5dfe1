import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from bulk_runs import plan, rows_of
from s3_loopback import serving

from audiomamba import bulk, storage
from audiomamba.bulk import Plan
from audiomamba.bulk.sources import list_recordings
from audiomamba.errors import ConfigError


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Object storage that fails a tenth of what is written; how many requests have failed."""
    with serving(failing=0.1) as (url, n_failed):
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        yield n_failed


def test_recordings_and_results_on_object_storage(
    s3: list[int], clips: Path, model_folder: Path, expected: list[dict], tmp_path: Path
) -> None:
    source = "s3://bucket/sounds"
    for file in sorted(clips.rglob("*.wav"))[:30]:
        storage.Storage(source).write(file.relative_to(clips).as_posix(), file.read_bytes())
    plan("s3://bucket/results/one", model_folder, source)

    opened = Plan.open("s3://bucket/results/one")
    bulk.launch(opened)

    assert s3[0]
    rows = rows_of("s3://bucket/results/one", tmp_path / "rows.jsonl")
    tags = {row["file"].removeprefix(source): row["tags"] for row in rows}
    wanted = {row["file"].removeprefix(str(clips)): row["tags"] for row in expected}
    assert len(tags) == 30
    for name, found in tags.items():
        assert [tag["score"] for tag in found] == pytest.approx(
            [tag["score"] for tag in wanted[name]], abs=1e-5
        )
    assert not list(bulk.verify(opened))


def test_members_of_a_tar_file_are_read_by_ranges(
    s3: list[int], clips: Path, model_folder: Path, tmp_path: Path
) -> None:
    files = sorted(clips.rglob("*.wav"))[:6]
    with tarfile.open(tmp_path / "some.tar", "w") as tar:
        for file in files:
            tar.add(file, file.name)
    storage.Storage("s3://bucket/tars").write("some.tar", (tmp_path / "some.tar").read_bytes())

    assert len(list(list_recordings("s3://bucket/tars"))) == 6
    plan(tmp_path / "out", model_folder, "s3://bucket/tars/some.tar", "s3://bucket/missing.wav")
    bulk.launch(Plan.open(str(tmp_path / "out")))

    rows = rows_of(tmp_path / "out", tmp_path / "rows.jsonl")
    errors = [row["error"] for row in rows if row["error"]]
    assert [row["file"] for row in rows if not row["error"]] == [
        f"s3://bucket/tars/some.tar#{file.name}" for file in files
    ]
    assert len(errors) == 1
    assert "s3://bucket/missing.wav: " in errors[0]
    assert s3[0] >= 0


def test_a_large_object_is_read_by_ranges(s3: list[int]) -> None:
    data = bytes(range(256)) * 50_000
    storage.Storage("s3://bucket").write("large", data)

    with storage.open_ranged("s3://bucket/large") as file:
        file.seek(-10, 2)
        assert file.read() == data[-10:]
        file.seek(5_000_000)
        assert file.read(3) == data[5_000_000:5_000_003]
    assert s3[0] >= 0


def test_storage_that_does_not_answer_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with serving() as (url, _):
        pass
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    monkeypatch.setattr(storage, "N_TRIES", 1)
    with pytest.raises(ConfigError, match="s3://bucket/out cannot be read"):
        Plan.open("s3://bucket/out")
