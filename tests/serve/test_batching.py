"""Requests whose windows are heard together are answered as alone."""

import io
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soundfile
import torch
from servers import RECORDINGS, Server
from test_answers import same

from audiomamba.infer import Tagger
from audiomamba.serve.batching import Batcher
from audiomamba.serve.bounded import BoundedTagger, Stop
from audiomamba.serve.refusal import RefusedError
from audiomamba.serve.settings import Settings

FILES = ("bell.wav", "blackbird.ogg", "cat.mp3", "dog.ogg", "guitar.flac", "rain.ogg")


class _Model:
    """Sums, and remembers how many windows it was asked for at once."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.begun, self.go_on = threading.Event(), threading.Event()

    def __call__(self, features: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
        self.sizes.append(len(features))
        self.begun.set()
        self.go_on.wait(10)
        if features.isnan().any():
            raise ZeroDivisionError
        return features.sum((1, 2)) if lengths is None else features.sum((1, 2)) + lengths


@pytest.fixture
def model() -> _Model:
    return _Model()


@pytest.fixture
def batcher(model: _Model) -> Iterator[Batcher]:
    batcher = Batcher(model, n_windows=8, wait_s=0.2)
    yield batcher
    model.go_on.set()
    batcher.close()


def test_what_comes_meanwhile_is_heard_at_once(model: _Model, batcher: Batcher) -> None:
    first = batcher.ask(torch.ones(8, 2, 2), None)
    assert model.begun.wait(10)
    later = [batcher.ask(torch.full((2, 2, 2), float(number)), None) for number in range(5)]
    other = batcher.ask(torch.ones(1, 3, 2), None)  # of another length
    padded = [batcher.ask(torch.ones(1, 2, 2), torch.tensor([number])) for number in (1, 2)]
    model.go_on.set()

    assert first.result(10).tolist() == [4.0] * 8
    for number, one in enumerate(later):
        assert one.result(10).tolist() == [4.0 * number] * 2
    assert other.result(10).tolist() == [6.0]
    assert [one.result(10).tolist() for one in padded] == [[5.0], [6.0]]
    assert model.sizes[0] == 8
    assert max(model.sizes) <= 8
    assert len(model.sizes) <= 5  # of 9 that asked


def test_the_first_waits_no_longer_than_is_said(model: _Model, batcher: Batcher) -> None:
    model.go_on.set()
    began = time.monotonic()
    assert batcher.ask(torch.ones(1, 2, 2), None).result(10).tolist() == [4.0]
    assert 0.15 < time.monotonic() - began < 5


def test_an_error_is_told_to_those_who_asked_and_the_others_are_answered(
    model: _Model, batcher: Batcher
) -> None:
    model.go_on.set()
    bad = batcher.ask(torch.full((8, 2, 2), float("nan")), None)
    with pytest.raises(ZeroDivisionError):
        bad.result(10)
    assert batcher.ask(torch.ones(8, 2, 2), None).result(10).tolist() == [4.0] * 8


def test_a_request_that_is_no_longer_wanted_does_not_wait(
    model: _Model, batcher: Batcher, general: Tagger
) -> None:
    batcher.ask(torch.ones(8, 2, 2), None)
    assert model.begun.wait(10)
    stop = Stop(60)
    tagger = BoundedTagger(general, Settings(), stop, batcher)
    stop.set()
    with pytest.raises(RefusedError, match="has left"):
        tagger.score_features(torch.ones(1, 2, 2))


def two_seconds(name: str) -> bytes:
    """Of equal length, for only such windows are heard at once."""
    samples, rate = soundfile.read(RECORDINGS / name, always_2d=True)
    file = io.BytesIO()
    soundfile.write(file, np.resize(samples[:, 0], 2 * rate), rate, format="WAV")
    return file.getvalue()


def test_answers_of_a_server_that_batches_are_those_of_one_that_does_not(
    server: Server,
) -> None:
    batching = Server("general", "--workers", 6, "--batch", 16, "--batch-wait", 300)
    sounds = [two_seconds(name) for name in FILES]
    try:
        with ThreadPoolExecutor(len(sounds)) as clients:
            found = list(clients.map(lambda it: batching.post("/v1/tag?top_k=9", it), sounds))
        counts = batching.counts()
    finally:
        assert batching.stop() == 0
    for sound, answer in zip(sounds, found, strict=True):
        assert answer.status == 200
        alone = server.post("/v1/tag?top_k=9", sound)
        assert same(json.loads(answer.body), alone.json())
    n_windows = counts["audiomamba_batch_windows_sum"]
    assert n_windows >= len(FILES)
    assert counts["audiomamba_batch_windows_count"] < n_windows
