"""Any array that a user may have gives the same as its file, or an error of the call."""

import io
from dataclasses import dataclass

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import audiomamba
from audiomamba import audio
from audiomamba.errors import AudioError, ConfigError
from audiomamba.infer.recording import read_blocks

RATE = 16_000
FLOATS = ("<f2", "<f4", "<f8", ">f4", ">f8", "bfloat16")
OTHERS = ("<i2", "<i4", "|u1", "|b1", "<c8", "|O")
RATES = (8_000, 16_000, 22_050, 44_100)
AS_RATE = (int, float, np.int32, np.int64, np.float32, np.float64, torch.tensor)
NO_RATES = (0, 16, 44.1, -16_000, True, "16000", None, float("nan"), float("inf"), 22_050.5, 10**8)


@dataclass(frozen=True)
class Layout:
    """How the samples lie in memory, and what they are of."""

    n_samples: int
    n_channels: int | None  # None for one axis
    channels_first: bool
    dtype: str
    step: int  # of a view; negative for one that is turned round
    fortran: bool
    kind: str  # numpy, torch, list, requires_grad


layouts = st.builds(
    Layout,
    n_samples=st.integers(0, 400),
    n_channels=st.sampled_from((None, None, 1, 2, 3, 8)),
    channels_first=st.booleans(),
    dtype=st.sampled_from(FLOATS * 3 + OTHERS),
    step=st.sampled_from((1, 1, 2, 3, -1, -2)),
    fortran=st.booleans(),
    kind=st.sampled_from(("numpy", "numpy", "torch", "requires_grad", "list")),
)


def made(layout: Layout) -> tuple[object, np.ndarray] | None:
    """The array as a user has it, and its samples (samples, channels); None if there is none."""
    rng = np.random.default_rng(layout.n_samples)
    shape = (layout.n_samples, layout.n_channels or 1)
    is_bfloat, is_torch = layout.dtype == "bfloat16", layout.kind in ("torch", "requires_grad")
    if is_bfloat and not is_torch:
        return None
    values = (0.3 * rng.standard_normal(shape)).clip(-1, 1).astype("f4" if is_bfloat else "f8")
    array = np.asarray(values if is_bfloat else values.astype(layout.dtype))
    if layout.n_channels is None:
        array = array[:, 0]
    elif layout.channels_first:
        array = array.T
    axis = 1 if layout.channels_first and layout.n_channels is not None else 0
    spaced = np.repeat(array, abs(layout.step), axis=axis)
    spaced = np.asarray(spaced, order="F" if layout.fortran else "C")
    cut = (slice(None),) * axis + (slice(None, None, layout.step),)
    found = np.flip(spaced, axis)[cut] if layout.step < 0 else spaced[cut]
    if not is_torch:
        return (found.tolist() if layout.kind == "list" else found), values
    if layout.step < 0 or found.dtype.byteorder == ">" or found.dtype.kind == "O":
        return None  # torch has no such tensors
    tensor = torch.from_numpy(found)
    tensor = tensor.to(torch.bfloat16) if is_bfloat else tensor
    if layout.kind == "requires_grad":
        if not tensor.is_floating_point():
            return None
        tensor.requires_grad_()
    return tensor, values


def file_of(samples: np.ndarray, rate: int) -> io.BytesIO:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="WAV", subtype="DOUBLE")
    return file


def is_right(layout: Layout) -> bool:
    """Whether it is floating point (samples,) or (samples, channels)."""
    if layout.dtype not in FLOATS and not (layout.kind == "list" and layout.dtype == "|O"):
        return False
    if layout.n_channels is None:
        return True
    if layout.channels_first and layout.n_samples != layout.n_channels:
        return layout.n_channels > layout.n_samples  # then they look as the other way round
    return layout.n_channels <= layout.n_samples


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(layout=layouts, rate=st.sampled_from(RATES), as_rate=st.sampled_from(AS_RATE))
def test_an_array_gives_the_same_as_its_file_or_an_error_of_the_call(layout, rate, as_rate):
    case = made(layout)
    if case is None:
        return
    array, samples = case
    try:
        found = torch.cat(list(read_blocks((array, as_rate(rate)), RATE)))
    except ConfigError:
        assert not is_right(layout)
        return
    except AudioError:
        assert layout.n_samples * RATE < rate  # none, also of those at the wanted rate
        return
    assert layout.n_samples
    if layout.n_channels is not None and layout.channels_first:
        samples = samples.T  # as they were taken, which cannot be known to be wrong
    expected = audio.load(file_of(samples, rate), sample_rate=RATE)
    tolerance = {"bfloat16": 0.01, "<f2": 2e-3}.get(layout.dtype, 1e-5)
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=0)


@settings(max_examples=60, deadline=None)
@given(layout=layouts, rate=st.sampled_from(RATES))
def test_channels_first_give_the_same_where_that_is_said(layout, rate):
    case = made(layout)
    if case is None or not layout.channels_first or layout.n_channels is None:
        return
    array, samples = case
    try:
        mono = audio.to_mono(array, channels_first=True)
    except ConfigError:
        assert layout.dtype not in FLOATS or layout.n_channels > layout.n_samples
        return
    except AudioError:
        assert layout.n_samples == 0
        return
    expected = audio.load(file_of(samples, rate), sample_rate=rate)
    tolerance = {"bfloat16": 0.01, "<f2": 2e-3}.get(layout.dtype, 1e-5)
    torch.testing.assert_close(mono, expected, atol=tolerance, rtol=0)


@pytest.mark.parametrize("rate", NO_RATES)
def test_rates_that_are_none_are_refused_by_every_call(rate, model_folder):
    tagger = audiomamba.load(model_folder)
    for call in (tagger.tag, tagger.scores, tagger.timeline, tagger.embed, tagger.score_recording):
        with pytest.raises(ConfigError, match="sample_rate is"):
            call((np.zeros(9_000), rate))


@pytest.mark.parametrize(
    "given",
    [
        np.zeros(9_000),
        torch.zeros(9_000),
        None,
        16_000,
        ["a.wav", "b.wav"],
        (16_000, np.zeros(9_000)),  # as scipy.io.wavfile gives it
        (np.zeros(9_000),),
        (np.zeros(9_000), RATE, "name"),
        np.zeros((2, 9_000)),
        (np.zeros((2, 9_000)), RATE),
        (np.zeros((1, 9_000)), RATE),
        ({"array": np.zeros(9_000)}, RATE),
        {"array": np.zeros(9_000), "sampling_rate": RATE},
    ],
)
def test_what_is_no_recording_is_an_error_of_every_call(given, model_folder):
    tagger = audiomamba.load(model_folder)
    for call in (tagger.tag, tagger.timeline, tagger.embed, tagger.read):
        with pytest.raises(ConfigError) as said:
            call(given)
        assert "\n" not in str(said.value)
        assert "expected" in str(said.value)


def test_a_single_path_is_no_list_of_letters(model_folder, tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros(9_000), RATE)
    tagger = audiomamba.load(model_folder)
    for one in (path, str(path)):
        assert audio.find(one) == [path]
        for several in (
            audiomamba.infer.tag_files(tagger, one),
            audiomamba.infer.find_events_in_files(tagger, one),
            audiomamba.infer.embed_files(tagger, one, tmp_path / "e.npy"),
        ):
            assert [result.file for result in several] == [path]
    with pytest.raises(ConfigError, match="expected the path of a recording"):
        audiomamba.infer.tag_files(tagger, [path, (np.zeros(9), RATE)])


@pytest.mark.parametrize("choice", [{"top": 0}, {"top": -1}, {"threshold": float("nan")}])
def test_numbers_that_would_hide_tags_are_refused(choice, model_folder):
    with pytest.raises(ConfigError, match="expected"):
        audiomamba.infer.tag_files(audiomamba.load(model_folder), [], **choice)
