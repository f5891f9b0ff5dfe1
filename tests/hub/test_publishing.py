"""Publishing models: what is written, what a hub gets, and what comes back."""

from dataclasses import replace
from pathlib import Path

import huggingface_hub
import pytest
import torch
from loopback import Hub

import audiomamba
from audiomamba import checkpoints, publishing
from audiomamba.errors import ConfigError, DownloadError

NOTES = {"held-out accuracy": 0.912, "held-out clips": 40, "started from": "general"}


@pytest.fixture
def noted(folder: Path) -> Path:
    """A folder with figures among its notes."""
    checkpoint = checkpoints.load(folder)
    checkpoints.save(folder, replace(checkpoint, notes=NOTES), dtype=torch.float16)
    return folder


def test_a_model_is_uploaded_and_loaded_again(server: Hub, noted: Path) -> None:
    address = publishing.publish(noted, "me/tiny", spdx="CC-BY-4.0")

    assert address.startswith(f"{server.url}/me/tiny/commit/")
    commit = server.commit_of("me/tiny", "main")
    assert commit is not None
    assert sorted(server.repos["me/tiny"][commit]) == [
        "README.md",
        "config.json",
        "model.safetensors",
        "modeling_audiomamba.py",
        "preprocessor_config.json",
    ]
    weights = server.repos["me/tiny"][commit]["model.safetensors"]
    assert weights == (noted / "model.safetensors").read_bytes()
    tagger = audiomamba.load("hf:me/tiny")
    assert tagger.labels == audiomamba.load(noted).labels
    assert checkpoints.load(checkpoints.find("hf:me/tiny")).license == "CC-BY-4.0"


def test_the_card_says_what_the_hub_reads(noted: Path, tmp_path: Path) -> None:
    out = publishing.prepare(noted, tmp_path / "out", repo="me/tiny")

    data = huggingface_hub.ModelCard.load(out / "README.md").data
    assert (data.license, data.library_name, data.pipeline_tag) == (
        "cc0-1.0",
        "audiomamba",
        "audio-classification",
    )
    (result,) = data.eval_results
    assert (result.metric_type, result.metric_value) == ("accuracy", 0.912)
    text = (out / "README.md").read_text()
    assert 'audiomamba.load("hf:me/tiny")' in text
    assert "- started from: general" in text
    assert "bell, dog, rain" in text


def test_what_the_author_wrote_stays(noted: Path, tmp_path: Path) -> None:
    (noted / "README.md").write_text("# Bells\n\nHeard in Ghent.\n")
    (noted / "LICENSE").write_text("as you like")

    out = publishing.prepare(noted, tmp_path / "out")

    text = (out / "README.md").read_text()
    assert "\nlicense: cc0-1.0\n" in text
    assert text.endswith("---\n\n# Bells\n\nHeard in Ghent.\n")
    assert (out / "LICENSE").read_text() == "as you like"


def test_weights_without_a_licence_are_not_published(noted: Path, tmp_path: Path) -> None:
    checkpoints.save(noted, replace(checkpoints.load(noted), license="unknown"))

    with pytest.raises(ConfigError, match="under which licence its weights are; give --license"):
        publishing.prepare(noted, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("repo", ["mine", "me/tiny@v1", "me/tiny/file.pth", "../x"])
def test_what_is_no_repository_is_refused(noted: Path, repo: str) -> None:
    with pytest.raises(ConfigError, match=r"is no address|is no repository"):
        publishing.publish(noted, repo)


def test_a_hub_that_cannot_be_reached_is_one_line(
    noted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")

    with pytest.raises(DownloadError, match="me/tiny cannot be published on http") as caught:
        publishing.publish(noted, "me/tiny")
    assert "\n" not in str(caught.value)
