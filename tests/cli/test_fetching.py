"""Models from elsewhere, on the command line."""

import os
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants
import pytest
from command_line import noise, run, write
from loopback import Hub, serving

OFFLINE = ("tag", "timeline", "embed", "train", "finetune", "evaluate", "serve", "pull", "publish")


@pytest.fixture
def hub(model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub that has the small model as org/tiny."""
    monkeypatch.setenv("AUDIOMAMBA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    with serving() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        server.put("org/tiny", {it.name: it.read_bytes() for it in model_folder.iterdir()})
        yield server


@pytest.mark.parametrize("name", OFFLINE)
def test_commands_that_load_models_can_do_without_a_network(name: str) -> None:
    assert "--offline" in run(name, "--help").stdout


def test_a_model_is_named_by_its_repository(hub: Hub, good: Path) -> None:
    first = run("tag", good, "--model", "hf:org/tiny", "--json")
    hub.asked.clear()
    second = run("tag", good, "--model", "hf:org/tiny", "--json", "--offline")

    assert (first.exit_code, second.exit_code) == (0, 0)
    assert first.stdout == second.stdout
    assert hub.asked == []
    assert "HF_HUB_OFFLINE" not in os.environ


def test_what_was_pulled_is_listed_and_cleared(hub: Hub) -> None:
    pulled = run("pull", "hf:org/tiny")
    listed = run("cache", "list")

    assert (pulled.exit_code, listed.exit_code) == (0, 0)
    name, _, folder = pulled.stdout.strip().rpartition(": ")
    assert name == "hf:org/tiny"
    assert Path(folder, "model.safetensors").is_file()
    assert f"hf:org/tiny  {folder}" in listed.stdout
    assert run("cache", "clear").exit_code == 0
    assert "nothing was fetched" in run("cache", "list").stdout
    assert hub.asked


@pytest.mark.parametrize(
    ("model", "code", "message"),
    [
        ("hf:org/nothing", 2, "audiomamba: hf:org/nothing: no such repository on http://127.0.0.1"),
        ("hf:org/tiny@v9", 2, "audiomamba: hf:org/tiny@v9: the repository has no revision 'v9'"),
        ("hf:org/tiny/a.pth", 2, "it has model.safetensors; expected a.pth"),
        ("http://example.org/a.pth", 2, "is not encrypted; expected an address with https://"),
        ("aum_base_audioset", 2, "is linked on https://github.com/kaistmm/Audio-Mamba-AuM, where"),
    ],
)
def test_what_is_not_there_is_one_line(
    hub: Hub, tmp_path: Path, model: str, code: int, message: str
) -> None:
    recording = write(tmp_path / "a.wav", noise(0.5), 16_000)

    result = run("tag", recording, "--model", model)

    assert hub.repos
    assert result.exit_code == code
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
