"""What takes turns: `audiomamba tag`, and scripts of other packages as their pages show them."""

import csv
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
import torch
from torch import Tensor
from torch.nn import functional as F

from audiomamba import audio, checkpoints, counting, models
from audiomamba.audio import FrontEnd
from audiomamba.audio.log_mel import mel_filters
from audiomamba.bench.peers import installed
from audiomamba.infer.freed_memory import keep_freed_memory
from audiomamba.infer.reading import TagOptions
from audiomamba.infer.results import Tagged
from audiomamba.infer.sound_model import WINDOWS_PER_BATCH
from audiomamba.infer.tag_table import TaggedTable
from audiomamba.infer.tagger import Tagger, load
from audiomamba.infer.windows import WindowBatch

__all__ = ["Side", "Work", "macs_of", "make", "mel_by_stft", "sides"]

N_TAGS, N_LABELS = 3, 527
Files = Sequence[Path]
Work = Callable[[Files], dict[str, float]]  # does files; gives times of parts, if it has some


@dataclass(frozen=True, kw_only=True)
class Side:
    """One way of going from files to a table.

    Args:
        name: what it is called.
        kind: what is run, one of MAKERS.
        model: a model's name, of ours, that it has the shape of.
        n_processes: how many share the files.
        n_threads: of each; None for those of the call.
        pinned: whether each process has one processor to itself.
        n_files: at most so many files are done.
    """

    name: str
    kind: str
    model: str
    n_processes: int = 1
    n_threads: int | None = None
    pinned: bool = False
    n_files: int


def sides(model: str, n_workers: int, n_files: int) -> tuple[tuple[Side, ...], ...]:
    """List what is measured, in groups whose first side is the one that ratios are to.

    Args:
        model: the name or folder of a trained model.
        n_workers: processes that share the files.
        n_files: files of the small models; large ones are given a few of them.

    Returns:
        The groups.
    """
    few = max(1, n_files // 24)
    one: dict[str, Any] = {"kind": "tag", "model": model, "n_files": n_files}
    alone: dict[str, Any] = {**one, "n_threads": 1, "pinned": True}
    return (
        (
            Side(name=f"audiomamba tag, {model}", **one),
            Side(name="script of EfficientAT, mn04_as", **{**one, **EFFICIENTAT}),
        ),
        (
            Side(name="one process on one processor", **alone),
            Side(name=f"{n_workers} processes", **alone, n_processes=n_workers),
        ),
        (
            Side(name="audiomamba tag, aum_base", kind="random", model="aum_base", n_files=few),
            Side(name="transformers, AST", kind="pipeline", model="ast_base", n_files=few),
        ),
    )


EFFICIENTAT = {"kind": "efficientat", "model": "mn04_as"}
EFFICIENTAT_FRONT_END = FrontEnd(
    kind="efficientat",
    sample_rate=32_000,
    low_hz=0.0,
    high_hz=15_000.0,
    n_frames=1000,
    mean=-4.5,
    std=2.5,
)


def make(side: Side) -> Work:
    """Load what a side works with.

    Args:
        side: the side.

    Returns:
        What does files.

    Raises:
        BackendError: a package is not installed.
    """
    return MAKERS[side.kind](side.model)


def macs_of(side: Side) -> int:
    """Count the multiply-accumulates of a side's model for one window of its input.

    Args:
        side: the side.

    Returns:
        Their number.
    """
    if side.kind in ("tag", "parts"):
        config = checkpoints.load(checkpoints.find(side.model)).model.config
    else:
        config = models.create(side.model, n_classes=N_LABELS).config
    return counting.count(config).macs


def _tag(model: str) -> Work:
    """What `audiomamba tag --out` does."""
    keep_freed_memory()
    return _tag_with(load(model))


def _tag_with_random(model: str) -> Work:
    """The same with a model of random weights."""
    keep_freed_memory()
    torch.manual_seed(0)
    made = models.create(model, n_classes=N_LABELS)
    labels = tuple(f"label {number}" for number in range(N_LABELS))
    checkpoint = checkpoints.Checkpoint(
        name=model, model=made, front_end=FrontEnd(), labels=labels, scores="sigmoid"
    )
    return _tag_with(Tagger(checkpoint))


def _tag_with(tagger: Tagger) -> Work:
    def work(files: Files) -> dict[str, float]:
        with tempfile.TemporaryDirectory() as folder:
            out, options = Path(folder, "tags.csv"), TagOptions(top=N_TAGS)
            table = TaggedTable(tagger, files, out, options, about={}, overwrite=False)
            for _ in table.results():
                pass
        return {}

    return work


def _one_by_one(tag: Callable[[Path], list[tuple[str, float]]]) -> Work:
    """A loop over files, as scripts have it; a row of CSV for each."""

    def work(files: Files) -> dict[str, float]:
        with tempfile.TemporaryDirectory() as folder, Path(folder, "tags.csv").open("w") as out:
            rows = csv.writer(out)
            for file in files:
                rows.writerow([file, *(value for pair in tag(file) for value in pair)])
        return {}

    return work


def _loaded(file: Path, rate_hz: int) -> Any:
    """A file as librosa loads it: by soundfile, the mean of its channels, resampled by soxr."""
    frames, own_hz = soundfile.read(file, dtype="float32", always_2d=True)
    mono = frames.mean(axis=1)
    return soxr.resample(mono, own_hz, rate_hz) if own_hz != rate_hz else mono


def _efficientat(model: str) -> Work:
    """EfficientAT's inference: a spectrogram and the model, file by file."""
    torch.manual_seed(0)
    made = models.create(model, n_classes=N_LABELS).eval()

    @torch.inference_mode()
    def tag(file: Path) -> list[tuple[str, float]]:
        waveform = torch.from_numpy(_loaded(file, EFFICIENTAT_FRONT_END.sample_rate))
        return _best(made(mel_by_stft(waveform))[0].sigmoid())

    return _one_by_one(tag)


def mel_by_stft(waveform: Tensor) -> Tensor:
    """Compute the input of EfficientAT by torch.stft, as its script does.

    Args:
        waveform: (samples,) at 32 kHz.

    Returns:
        (1, frames, mels).
    """
    window = torch.hann_window(800, periodic=False)
    filters = mel_filters(EFFICIENTAT_FRONT_END, torch.device("cpu"), torch.float32)
    emphasized = F.conv1d(waveform[None, None], torch.tensor([[[-0.97, 1.0]]]))[0]
    spectrum = torch.stft(emphasized, 1024, 320, 800, window, center=True, return_complex=True)
    power = torch.view_as_real(spectrum).square().sum(-1).transpose(1, 2)
    return ((power @ filters + 1e-5).log() + 4.5) / 5


def _best(scores: Tensor) -> list[tuple[str, float]]:
    found = scores.topk(N_TAGS)
    return [
        (f"label {index}", score)
        for index, score in zip(found.indices.tolist(), found.values.tolist(), strict=True)
    ]


def _pipeline(_: str) -> Work:
    """The pipeline of transformers with an AST of random weights, of patches without overlap."""
    transformers = installed("transformers")
    torch.manual_seed(0)
    config = transformers.ASTConfig(frequency_stride=16, time_stride=16, num_labels=N_LABELS)
    pipe = transformers.pipeline(
        "audio-classification",
        model=transformers.ASTForAudioClassification(config).eval(),
        feature_extractor=transformers.ASTFeatureExtractor(),
        top_k=N_TAGS,
    )

    def tag(file: Path) -> list[tuple[str, float]]:
        sound = {"raw": _loaded(file, 16_000), "sampling_rate": 16_000}
        return [(one["label"], one["score"]) for one in pipe(sound)]

    return _one_by_one(tag)


@dataclass
class _Clock:
    """Processor time by part."""

    parts: dict[str, float] = field(default_factory=dict)
    _began: float = field(default_factory=time.process_time)

    def lap(self, part: str) -> None:
        """Give the time since the last lap to a part."""
        now = time.process_time()
        self.parts[part] = self.parts.get(part, 0.0) + now - self._began
        self._began = now


def _parts(model: str) -> Work:
    """What `audiomamba tag` does, part by part, with nothing at the same time."""
    keep_freed_memory()
    tagger = load(model)
    rate_hz, n_most = tagger.front_end.sample_rate, tagger.front_end.n_samples

    @torch.inference_mode()
    def work(files: Files) -> dict[str, float]:
        clock = _Clock()
        with tempfile.TemporaryFile("w") as out:
            for start in range(0, len(files), WINDOWS_PER_BATCH):
                group = files[start : start + WINDOWS_PER_BATCH]
                data = [file.read_bytes() for file in group]
                clock.lap("reading")
                sounds = [torch.cat(list(audio.stream(one))) for one in data]
                clock.lap("decoding")
                rates = [audio.stream(one).sample_rate for one in data]
                clock.lap("(opening)")
                sounds = [
                    torch.from_numpy(soxr.resample(one.numpy(), rate, rate_hz))
                    for one, rate in zip(sounds, rates, strict=True)
                ]
                clock.lap("resampling")
                inputs = tagger.inputs(_batch(sounds, n_most))
                clock.lap("features")
                scores = tagger.score_features(*inputs)
                clock.lap("model")
                for file, sound, row in zip(group, sounds, scores, strict=True):
                    tags = tagger.ranked(row)[:N_TAGS]
                    tagged = Tagged(file, len(sound) / rate_hz, tags)
                    out.write(json.dumps(tagged.to_dict()) + "\n")
                    out.flush()
                clock.lap("writing")
        del clock.parts["(opening)"]
        return clock.parts

    return work


def _batch(sounds: Sequence[Tensor], n_most: int) -> WindowBatch:
    """The first window of each."""
    cut = [sound[:n_most] for sound in sounds]
    samples = np.zeros((len(cut), max(map(len, cut))), dtype=np.float32)
    for row, sound in zip(samples, cut, strict=True):
        row[: len(sound)] = sound.numpy()
    lengths = torch.tensor([len(sound) for sound in cut])
    return WindowBatch(torch.from_numpy(samples), torch.zeros_like(lengths), lengths)


MAKERS: dict[str, Callable[[str], Work]] = {
    "tag": _tag,
    "random": _tag_with_random,
    "efficientat": _efficientat,
    "pipeline": _pipeline,
    "parts": _parts,
}
