import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audiomamba.errors import ConfigError, UnknownNameError
from audiomamba.infer import Event
from audiomamba.infer.events import EventFinder, EventRule, find_events, in_order

LABELS = ("dog", "rain")
BARE = {"median_s": 0.0, "shortest_s": 0.0, "gap_s": 0.0}


def one_class(scores: list[float], **rule: object) -> list[tuple[float, float]]:
    """Events of a single class with a step of one second, as (start, end)."""
    found = find_events(torch.tensor(scores)[:, None], ["dog"], 1.0, EventRule(**BARE | rule))
    return [(event.start_s, event.end_s) for event in found]


def test_an_event_begins_at_the_threshold_and_goes_on_above_its_share() -> None:
    scores = [0.3, 0.5, 0.3, 0.25, 0.24, 0.3, 0.49, 0.6]

    assert one_class(scores, threshold=0.5, stay=0.5) == [(1, 4), (7, 8)]
    assert one_class(scores, threshold=0.5, stay=1.0) == [(1, 2), (7, 8)]


def test_short_gaps_are_joined_before_short_events_are_dropped() -> None:
    scores = [1, 0, 1, 0, 0, 0, 1, 0, 0, 1, 1, 1]

    assert one_class(scores, gap_s=1) == [(0, 3), (6, 7), (9, 12)]
    assert one_class(scores, gap_s=1, shortest_s=2) == [(0, 3), (9, 12)]
    assert one_class(scores, gap_s=2) == [(0, 3), (6, 12)]


def test_the_median_filter_drops_a_spike_and_fills_a_hole() -> None:
    assert one_class([0, 0, 1, 0, 0, 1, 1, 0, 1, 1, 0, 0], median_s=3) == [(5, 10)]


def test_an_event_at_the_end_ends_with_the_recording() -> None:
    finder = EventFinder(["dog"], 1.0, EventRule(**BARE))
    finder.add(torch.tensor([[0.0], [0.9], [0.8]]))

    (event,) = finder.finish(2.5)

    assert event == Event("dog", 1.0, 2.5, pytest.approx(0.9))


def test_classes_have_their_own_settings_and_the_default_for_the_rest() -> None:
    scores = torch.tensor([[0.4, 0.4], [0.6, 0.6], [0.4, 0.4]])
    rule = EventRule(**BARE | {"threshold": {"rain": 0.5}}, stay=1.0)

    assert find_events(scores, LABELS, 1.0, rule) == [
        Event("dog", 0.0, 3.0, pytest.approx(0.6)),
        Event("rain", 1.0, 2.0, pytest.approx(0.6)),
    ]


def test_silence_and_no_frames_give_no_events() -> None:
    assert find_events(torch.zeros(100, 2), LABELS, 0.1) == []
    assert find_events(torch.zeros(0, 2), LABELS, 0.1) == []


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    sizes=st.lists(st.integers(0, 90), min_size=1, max_size=12),
    medians=st.tuples(st.integers(0, 9), st.integers(0, 40)),
    gap=st.integers(0, 6),
    shortest=st.integers(0, 6),
)
def test_blocks_of_any_size_give_the_events_of_the_whole(
    seed: int, sizes: list[int], medians: tuple[int, int], gap: int, shortest: int
) -> None:
    rng = np.random.default_rng(seed)
    steps = rng.choice([0.0, 0.3, 0.45, 0.5, 0.8], (sum(sizes), 2))
    scores = torch.tensor(np.repeat(steps, 3, axis=0)[: sum(sizes)], dtype=torch.float32)
    rule = EventRule(
        threshold={"dog": 0.5, "rain": 0.45},
        stay=0.6,
        median_s=dict(zip(LABELS, medians, strict=True)),
        gap_s=gap,
        shortest_s=shortest,
    )
    finder = EventFinder(LABELS, 1.0, rule)

    found = [event for block in scores.split(sizes) for event in finder.add(block)]

    whole = find_events(scores, LABELS, 1.0, rule)
    assert in_order(found + finder.finish()) == whole == slowly(scores, rule)


def slowly(scores: torch.Tensor, rule: EventRule) -> list[Event]:
    """The definition, frame by frame."""
    found = []
    for number, label in enumerate(LABELS):
        threshold, median_s, gap, shortest = (
            rule.of(name, LABELS)[number]
            for name in ("threshold", "median_s", "gap_s", "shortest_s")
        )
        half = int(median_s) // 2
        given_scores = scores[:, number].numpy()
        padded = np.pad(given_scores, half, mode="edge") if len(given_scores) else given_scores
        smooth = [np.median(padded[at : at + 2 * half + 1]) for at in range(len(given_scores))]
        runs: list[list[float]] = []
        on = False
        for at, score in enumerate(smooth):
            on = score >= np.float32(threshold * (rule.stay if on else 1))
            if on and runs and at - runs[-1][1] <= gap:
                runs[-1][1:] = [at + 1, max(runs[-1][2], score)]
            elif on:
                runs.append([at, at + 1, score])
        found += [Event(label, a, b, peak) for a, b, peak in runs if b - a >= shortest]
    return in_order(found)


def test_events_are_reported_as_soon_as_they_are_certain() -> None:
    finder = EventFinder(["dog"], 1.0, EventRule(**BARE | {"gap_s": 2.0}))

    assert finder.add(torch.tensor([[0.9], [0.0], [0.0]])) == []
    assert finder.add(torch.tensor([[0.0]])) == [Event("dog", 0.0, 1.0, pytest.approx(0.9))]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"threshold": 0.0}, "threshold is 0.0; expected a number above 0, at most 1"),
        ({"stay": 1.5}, "stay is 1.5"),
        ({"gap_s": {"dog": -1.0}}, "gap_s is -1.0; expected a number at least 0"),
        ({"median_s": float("nan")}, "median_s is nan"),
    ],
)
def test_a_setting_out_of_range_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        EventRule(**changes)


def test_a_label_that_the_model_has_not_is_refused() -> None:
    with pytest.raises(
        UnknownNameError, match="unknown label in threshold 'dig'; did you mean dog"
    ):
        find_events(torch.zeros(3, 2), LABELS, 1.0, EventRule(threshold={"dig": 0.5}))


def test_scores_of_other_classes_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"shape \(3, 5\); expected \(frames, 2\)"):
        find_events(torch.zeros(3, 5), LABELS, 1.0)
