"""Weights from the Hugging Face hub, with a hub on this machine."""

import json
import logging
import os
import time
from pathlib import Path

import pytest
import torch
from loopback import Hub, Start
from safetensors.torch import save

import audiomamba
from audiomamba import checkpoints, hub
from audiomamba.errors import CheckpointError, ConfigError, DownloadError

LOAD = "import audiomamba; print(audiomamba.checkpoints.find('hf:org/mine'))"


class Marker:
    """A pickle that writes a file when it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> object:
        return os.mkdir, (self.path,)


def released(aum_file: Path) -> bytes:
    state = torch.load(aum_file, weights_only=True)
    return save({key: value.clone() for key, value in state.items()})


def test_a_model_is_loaded_by_its_repository(server: Hub, own_files: dict[str, bytes]) -> None:
    commit = server.put("org/mine", own_files)

    tagger = audiomamba.load("hf:org/mine")

    assert tagger.labels == ("bell", "dog", "rain")
    folder = checkpoints.find("hf:org/mine")
    assert folder.name == commit
    assert sorted(it.name for it in folder.iterdir()) == [  # and no code
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
    ]


def test_the_second_time_needs_no_network(
    server: Hub, own_files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    server.put("org/mine", own_files)
    folder = checkpoints.find("hf:org/mine")
    server.asked.clear()

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    assert checkpoints.find("hf:org/mine") == folder
    assert audiomamba.load("hf:org/mine").labels == ("bell", "dog", "rain")
    assert server.asked == []
    with pytest.raises(DownloadError, match="hf:org/other is not in the cache, and this call may"):
        checkpoints.find("hf:org/other")


def test_what_another_program_fetched_is_found_offline(
    server: Hub, own_files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    server.put("org/mine", own_files)
    huggingface_hub.snapshot_download("org/mine", endpoint=server.url)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    assert audiomamba.load("hf:org/mine").labels == ("bell", "dog", "rain")


def test_a_branch_that_moved_is_fetched_again(server: Hub, own_files: dict[str, bytes]) -> None:
    server.put("org/mine", own_files)
    first = checkpoints.find("hf:org/mine")
    settings = json.loads(own_files["config.json"]) | {"labels": ["a", "b", "c"]}
    newer = own_files | {"config.json": json.dumps(settings).encode()}
    commit = server.put("org/mine", newer)

    assert checkpoints.find("hf:org/mine").name == commit
    assert checkpoints.find(f"hf:org/mine@{first.name}") == first
    assert server.n_bodies("model.safetensors") == 1


def test_a_hub_that_cannot_be_reached_gives_what_is_there_and_says_so(
    server: Hub,
    own_files: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    commit = server.put("org/mine", own_files)
    folder = checkpoints.find("hf:org/mine")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")

    with caplog.at_level(logging.WARNING, "audiomamba"):
        assert checkpoints.find("hf:org/mine") == folder

    assert f"what was fetched before is used, commit {commit}" in caplog.text
    with pytest.raises(DownloadError, match=r"cannot be fetched from http://127\.0\.0\.1:9"):
        checkpoints.find("hf:org/other")


def test_a_changed_byte_is_refused_by_name(server: Hub, own_files: dict[str, bytes]) -> None:
    server.put("org/mine", own_files)
    data = own_files["model.safetensors"]
    server.sent["model.safetensors"] = data[:-1] + bytes([data[-1] ^ 1])

    with pytest.raises(DownloadError, match=r"hf:org/mine: model\.safetensors is not the file"):
        checkpoints.find("hf:org/mine")

    server.sent.clear()
    assert audiomamba.load("hf:org/mine").labels == ("bell", "dog", "rain")


def test_a_changed_byte_of_the_settings_is_refused_too(
    server: Hub, own_files: dict[str, bytes]
) -> None:
    server.put("org/mine", own_files)
    server.sent["config.json"] = own_files["config.json"].replace(b"dog", b"cat")

    with pytest.raises(DownloadError, match=r"hf:org/mine: config\.json is not the file"):
        checkpoints.find("hf:org/mine")


def test_a_file_that_changed_in_the_cache_is_refused(
    server: Hub, own_files: dict[str, bytes]
) -> None:
    server.put("org/mine", own_files)
    weights = (checkpoints.find("hf:org/mine") / "model.safetensors").resolve()
    data = weights.read_bytes()
    weights.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))

    with pytest.raises(DownloadError, match=r"model\.safetensors is not the file"):
        audiomamba.load("hf:org/mine")
    assert audiomamba.load("hf:org/mine").labels == ("bell", "dog", "rain")


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("hf:org/nothing", "no such repository on http"),
        ("hf:org/mine@v9", "the repository has no revision 'v9'; expected a branch"),
        ("hf:org/mine/other.pth", "it has model.safetensors; expected other.pth"),
        ("hf:org/empty", "it has no files of weights; expected one file"),
        ("hf:org/two", "it has a.pth, b.pth; expected one file of weights; give hf:org/name/FILE"),
    ],
)
def test_what_is_not_there_is_one_line(
    server: Hub, own_files: dict[str, bytes], address: str, message: str
) -> None:
    server.put("org/mine", own_files)
    server.put("org/empty", {"README.md": b"nothing"})
    server.put("org/two", {"a.pth": b"a", "b.pth": b"b"})

    with pytest.raises(ConfigError) as caught:
        checkpoints.find(address)

    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_released_weights_are_converted_once(server: Hub, aum_file: Path) -> None:
    server.put("org/aum", {"model.safetensors": released(aum_file), "config.json": b"{}"})

    folder = checkpoints.find("hf:org/aum")
    server.asked.clear()
    assert checkpoints.find("hf:org/aum") == folder

    assert folder.parent == hub.cache_folder() / "models"
    assert server.n_bodies("model.safetensors") == 0
    checkpoint = checkpoints.load(folder)
    assert checkpoint.name == "aum"
    assert checkpoint.notes["address"] == "hf:org/aum"
    assert len(str(checkpoint.notes["commit"])) == 40


def test_labels_that_stand_beside_the_weights_are_used(server: Hub, aum_file: Path) -> None:
    labels = {str(index): f"word {index}" for index in range(35)}
    config = {"id2label": labels, "problem_type": "single_label_classification"}
    files = {"model.safetensors": released(aum_file), "config.json": json.dumps(config).encode()}
    server.put("org/aum", files)

    checkpoint = checkpoints.load(checkpoints.find("hf:org/aum"))

    assert checkpoint.labels == tuple(labels.values())
    assert checkpoint.scores == "softmax"


@pytest.mark.parametrize(
    "config", [{"id2label": {"a": 1}}, {"id2label": [1]}, {"id2label": {}}, [1], {"mean": "x"}]
)
def test_settings_that_say_nothing_useful_are_left_alone(
    server: Hub, aum_file: Path, config: object
) -> None:
    said = json.dumps(config).encode()
    files = {"config.json": said, "preprocessor_config.json": said}
    server.put("org/aum", files | {"model.safetensors": released(aum_file)})

    assert len(audiomamba.load("hf:org/aum").labels) == 35


def test_settings_of_ours_that_are_damaged_are_one_line(
    server: Hub, own_files: dict[str, bytes]
) -> None:
    settings = json.loads(own_files["config.json"]) | {"parents": ["dog"]}
    server.put("org/mine", own_files | {"config.json": json.dumps(settings).encode()})

    with pytest.raises(CheckpointError, match=r"config\.json: ") as caught:
        audiomamba.load("hf:org/mine")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_too_large_is_not_fetched(
    server: Hub, own_files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    server.put("org/mine", own_files)
    monkeypatch.setattr("audiomamba.hub.hugging_face.LARGEST_BYTES", 1_000)

    with pytest.raises(DownloadError, match="expected at most 1,000; nothing was fetched"):
        checkpoints.find("hf:org/mine")
    assert server.n_bodies("model.safetensors") == 0


def test_a_pickle_is_never_opened_as_code(server: Hub, tmp_path: Path) -> None:
    torch.save({"head.weight": Marker(tmp_path / "marker")}, tmp_path / "a.pth")
    server.put("org/evil", {"pytorch_model.bin": (tmp_path / "a.pth").read_bytes()})

    with pytest.raises(CheckpointError, match="refused, because it is no plain file of tensors"):
        checkpoints.find("hf:org/evil")

    assert not (tmp_path / "marker").exists()
    assert not list(hub.cache_folder().glob("models/*"))


def test_weights_by_name_come_from_the_registry(
    server: Hub, aum_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.put("Robzy/audiomamba", {"model.safetensors": released(aum_file)})

    tagger = audiomamba.load("aum_base_vggsound_copy")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")

    assert len(audiomamba.load("aum_base_vggsound_copy").labels) == len(tagger.labels) == 35


def test_a_published_hash_is_compared(server: Hub, aum_file: Path) -> None:
    commit = server.put("org/aum", {"model.safetensors": released(aum_file)})
    address = hub.HubAddress(
        repo="org/aum", revision=commit, files=("model.safetensors",), sha256="0" * 64
    )

    with pytest.raises(DownloadError, match="is not the file that the hub describes"):
        hub.fetch_from_hub(address)


def test_a_process_that_is_killed_in_the_middle_harms_nothing(
    server: Hub, own_files: dict[str, bytes], start: Start
) -> None:
    server.put("org/mine", own_files)
    server.slow.add("model.safetensors")
    process = start(LOAD)
    deadline = time.monotonic() + 60
    while not server.n_bodies("model.safetensors") and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)
    process.kill()
    process.communicate()
    assert not list((hub.cache_folder() / "fetched").glob("*"))

    server.slow.clear()

    assert audiomamba.load("hf:org/mine").labels == ("bell", "dog", "rain")


def test_four_processes_fetch_once_and_all_load(server: Hub, aum_file: Path, start: Start) -> None:
    server.put("org/mine", {"model.safetensors": released(aum_file)})
    server.slow.add("model.safetensors")

    processes = [start(LOAD) for _ in range(4)]
    results = [process.communicate(timeout=120) for process in processes]

    assert [process.returncode for process in processes] == [0] * 4, results
    (folder,) = {out.strip() for out, _ in results}
    assert checkpoints.load(folder).name == "mine"
    assert server.n_bodies("model.safetensors") == 1
