from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray

SUBTYPES = {"opus": "OPUS"}
CONTAINERS = {"opus": "OGG"}
CODECS = {"m4a": "aac", "mp4": "aac", "webm": "libopus", "mka": "pcm_s16le"}

Samples = NDArray[np.floating]


def write_with_soundfile(path: Path, samples: Samples, rate_hz: int) -> None:
    kind = path.suffix[1:]
    # In pieces, as libsndfile overruns its stack when it encodes long vorbis blocks at once.
    with soundfile.SoundFile(
        path,
        "w",
        rate_hz,
        samples.shape[1],
        subtype=SUBTYPES.get(kind),
        format=CONTAINERS.get(kind),
    ) as file:
        for start in range(0, len(samples), 8192):
            file.write(samples[start : start + 8192])


def write_with_av(path: Path, samples: Samples, rate_hz: int) -> None:
    codec = CODECS[path.suffix[1:]]
    layout = {1: "mono", 2: "stereo"}[samples.shape[1]]
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, rate=rate_hz, layout=layout)
        planes = np.ascontiguousarray(samples.T.astype(np.float32))
        frame = av.AudioFrame.from_ndarray(planes, format="fltp", layout=layout)
        frame.sample_rate = rate_hz
        to_codec = av.AudioResampler(stream.format, layout, rate_hz, stream.frame_size or 1024)
        for part in [*to_codec.resample(frame), *to_codec.resample(None)]:
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))


@pytest.fixture(autouse=True, scope="package")
def one_thread() -> Iterator[None]:
    """Small clips gain nothing from threads, and lose much on a busy machine."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, Samples, int], Path]:
    """Write samples (samples,) or (samples, channels) in the format that the name asks for."""

    def write_file(name: str, samples: Samples, rate_hz: int) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        table = samples if samples.ndim == 2 else samples[:, None]
        writer = write_with_av if path.suffix[1:] in CODECS else write_with_soundfile
        writer(path, table, rate_hz)
        return path

    return write_file


@pytest.fixture
def tone() -> Callable[..., Samples]:
    """Make a sine of peak 0.4, (samples,)."""

    def make(frequency_hz: float, rate_hz: int, seconds: float = 1.0) -> Samples:
        time_s = np.arange(round(rate_hz * seconds)) / rate_hz
        return 0.4 * np.sin(2 * np.pi * frequency_hz * time_s)

    return make
