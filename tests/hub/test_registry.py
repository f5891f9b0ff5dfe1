"""The registry of released weights, as data."""

import re
from urllib.parse import urlsplit

import pytest

from audiomamba import checkpoints, models
from audiomamba.data import CORPORA
from audiomamba.errors import UnknownNameError
from audiomamba.hub import RELEASED, HubAddress, Released, get_released, parse_address, released_of

KNOWN = [pytest.param(it, id=it.name) for it in RELEASED]


def test_no_name_is_twice_or_that_of_a_model() -> None:
    names = [it.name for it in RELEASED]

    assert len(names) == len(set(names)) >= 70
    assert not set(names) & {*models.names(), *checkpoints.packaged()}


@pytest.mark.parametrize("record", KNOWN)
def test_an_entry_names_a_model_an_importer_and_a_corpus(record: Released) -> None:
    assert record.model in models.names()
    assert record.origin in {origin.name for origin in checkpoints.ORIGINS}
    if record.corpus not in ("imagenet", "none"):
        assert CORPORA[record.corpus].metric == record.metric
    assert record.start in ("scratch", "imagenet", "audioset")
    assert record.score is None or 0 < record.score < 100
    assert record.source
    assert record.license


@pytest.mark.parametrize("record", KNOWN)
def test_an_address_is_well_formed_and_in_one_place(record: Released) -> None:
    assert sum(map(bool, (record.repo, record.folder, record.page))) == 1
    assert urlsplit(record.address).scheme == "https"
    assert record.address.isascii()
    assert " " not in record.address
    where = record.location
    if isinstance(where, HubAddress):
        first = HubAddress(repo=where.repo, revision=where.revision, files=where.files[:1])
        assert parse_address(str(first)) == first
    elif where is not None:
        assert parse_address(where.url).file == where.file == record.files[0]


@pytest.mark.parametrize("record", KNOWN)
def test_nothing_says_verified_that_was_not(record: Released) -> None:
    if record.sha256 is None:
        assert record.hash_text == "unverified"
    else:
        assert re.fullmatch("[0-9a-f]{64}", record.sha256)
        assert re.fullmatch("[0-9a-f]{40}", record.revision)  # a branch may hold another file soon
        assert record.size or record.repo  # the hub shows round sizes only


def test_weights_are_found_by_their_name_and_by_their_model() -> None:
    assert get_released("dass_medium_audioset").score == 50.2
    assert [it.score for it in released_of("dass_medium")] == [50.2, 48.9, 47.6]
    assert {it.model for it in released_of("mn*0_audioset")} == {f"mn{n}0_as" for n in (1, 2, 3, 4)}
    with pytest.raises(UnknownNameError, match="did you mean dass_medium_audioset"):
        get_released("dass_medium_audiosets")
