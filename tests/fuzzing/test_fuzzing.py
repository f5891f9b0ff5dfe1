"""Damaged files are read or refused in a line: no crash, no hang, no other error, flat memory."""

from pathlib import Path

import pytest
from fuzzing_run import Found, run
from sound_files import mutated, whole_files

from audiomamba import audio

MOST_KIB = 600 << 10
# Numbers of damaged files, by seed, that were read wrong once.
KEPT = {0: (275, 20_418, 53_034, 86_531)}


def check(found: Found, n_files: int) -> None:
    assert found.bad == []
    assert found.n_files == n_files
    assert n_files == sum(found.outcomes[what] for what in ("read", "in part", "refused"))
    assert max(found.peak_kib) < MOST_KIB


def test_whole_files_of_every_format_are_read() -> None:
    for name, data in whole_files().items():
        assert len(audio.load(data, sample_rate=16_000)) >= 1_300, name


def test_a_damaged_file_follows_from_its_seed_and_number() -> None:
    assert mutated(3, 7) == mutated(3, 7)
    assert len({mutated(3, number)[1] for number in range(50)}) == 50


@pytest.mark.parametrize("seed", KEPT)
def test_files_that_were_read_wrong_once(seed: int) -> None:
    for number in KEPT[seed]:
        check(run(1, seed=seed, first=number), 1)


def test_damaged_files_are_read_or_refused(model_folder: Path) -> None:
    found = run(400, seed=1, model=model_folder)
    check(found, 400)
    assert set(found.formats) == set(whole_files())
    assert min(found.outcomes["read"], found.outcomes["refused"]) > 50


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_hundred_thousand_damaged_files_are_read_or_refused(model_folder: Path) -> None:
    found = run(100_000, model=model_folder)
    check(found, 100_000)
    later = found.peak_kib[1:]
    assert max(later) < 1.5 * min(later)  # memory does not grow with what was read before
