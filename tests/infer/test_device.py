import numpy as np
import pytest
import torch

import audiomamba
from audiomamba.errors import ConfigError
from audiomamba.infer import Framing
from audiomamba.infer.device import as_device


@pytest.mark.parametrize("name", ["gpu", "meta", "", "cuda:", "cuda:x", "cuda:-1", "cpu:0", "CUDA"])
def test_other_devices_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"^device '{name}' is not known; expected cpu, cuda or"):
        as_device(name)


def test_a_gpu_has_to_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(ConfigError, match="cuda:0 was asked for; PyTorch finds no GPU here"):
        as_device("cuda:0")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert as_device("cuda:1") == torch.device("cuda", 1)
    assert as_device("cuda") == torch.device("cuda")
    with pytest.raises(ConfigError, match="cuda:2 was asked for; the last GPU is cuda:1"):
        as_device("cuda:2")


def test_a_tagger_is_moved_and_given_back() -> None:
    tagger = audiomamba.load("general")

    assert tagger.to(torch.device("cpu")) is tagger
    assert tagger.device == torch.device("cpu")


@pytest.mark.gpu
@pytest.mark.parametrize("mode", ["windows", "native"])
def test_a_gpu_says_what_the_processor_says(mode: str) -> None:
    recording = (0.1 * np.random.default_rng(0).standard_normal(200_000, dtype=np.float32), 16_000)
    found = []
    for device in ("cpu", "cuda"):
        tagger = audiomamba.load("general").to(device)
        scores = tagger.scores(recording, mode=mode)  # type: ignore[arg-type]
        line = tagger.timeline(recording, Framing(mode=mode)).scores  # type: ignore[arg-type]
        found.append((scores, line, tagger.embed(recording)))
    for here, there in zip(*found, strict=True):
        assert there.device.type == "cpu"
        torch.testing.assert_close(there, here, atol=1e-3, rtol=1e-3)
