"""Clips that are read from object storage, and runs that are kept there."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from s3_loopback import serving
from typer.testing import CliRunner

from audiomamba import checkpoints, train
from audiomamba.cli import app
from audiomamba.data import link, prepare, shard
from audiomamba.errors import DataError
from audiomamba.recipes import override
from audiomamba.storage import Storage
from audiomamba.train.fitting.checkpointer import Checkpointer


@pytest.fixture(autouse=True)
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Object storage on this machine, which fails now and then."""
    with serving(failing=0.05) as (url, _):
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        yield


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return checkpoints.load(folder / "last").model.state_dict()


def assert_same(one: Path, other: Path) -> None:
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("n_workers", [0, 1])
def test_training_on_tar_files_that_stay_there_is_the_same(recipe, corpus, tmp_path, n_workers):
    manifest = prepare("esc10", corpus, tmp_path / "listed").manifest
    shard(manifest, tmp_path / "shards", shard_seconds=3.0)
    storage = Storage("s3://bucket/shards")
    for file in (tmp_path / "shards").glob("*"):
        storage.upload(file, file.name)
    done = CliRunner().invoke(
        app, ["data", "link", "s3://bucket/shards", "--to", str(tmp_path / "linked")]
    )
    assert done.exit_code == 0, done.stderr
    assert sum(file.stat().st_size for file in (tmp_path / "linked").glob("*.tar")) < 1000

    short = override(recipe, ["epochs=2"])
    for name in ("shards", "linked"):
        train.fit(
            short, tmp_path / name, tmp_path / f"run-{name}", n_threads=1, n_workers=n_workers
        )

    assert_same(tmp_path / "run-shards", tmp_path / "run-linked")


def test_a_tar_file_that_is_not_there_is_named(corpus, tmp_path):
    manifest = prepare("esc10", corpus, tmp_path / "listed").manifest
    shard(manifest, tmp_path / "shards")
    Storage("s3://bucket/shards").upload(tmp_path / "shards" / "manifest.jsonl", "manifest.jsonl")

    with pytest.raises(DataError, match=r"\.tar is in the manifest but not there"):
        link("s3://bucket/shards", tmp_path / "linked")
    with pytest.raises(DataError, match="cannot be read"):
        link("s3://bucket/nothing", tmp_path / "linked")
    assert not (tmp_path / "linked").exists()


class StoppedError(Exception):
    """The machine is gone."""


def test_another_machine_goes_on_from_what_is_there(recipe, corpus, tmp_path, monkeypatch):
    whole = train.fit(recipe, corpus, tmp_path / "whole", n_threads=1, progress=False)
    save, n_saved = Checkpointer.save, 0

    def save_twice(checkpointer, state):
        nonlocal n_saved
        save(checkpointer, state)
        n_saved += 1
        if n_saved == 2:
            raise StoppedError

    execution = {"n_threads": 1, "progress": False, "mirror": "s3://bucket/runs/one"}
    with monkeypatch.context() as patched:
        patched.setattr(Checkpointer, "save", save_twice)
        with pytest.raises(StoppedError):
            train.fit(recipe, corpus, tmp_path / "first", **execution)

    result = train.fit(recipe, corpus, tmp_path / "second", **execution)

    assert result.resumed_epoch == 2
    assert replace(result, folder=whole.folder, seconds=0.0, resumed_epoch=0, metrics={}) == (
        replace(whole, seconds=0.0, metrics={})
    )
    assert_same(tmp_path / "whole", tmp_path / "second")
    third = train.fit(recipe, corpus, tmp_path / "third", **execution)
    assert third.resumed_epoch == whole.metrics["epoch"]
    assert_same(tmp_path / "whole", tmp_path / "third")
