import pytest

from audiomamba.data import CORPORA
from audiomamba.data.labels import label_list
from audiomamba.errors import UnknownNameError


@pytest.mark.parametrize(
    ("corpus", "n_classes", "known"),
    [
        (
            "audioset",
            527,
            {0: "Speech", 1: "Male speech, man speaking", 137: "Music", 526: "Field recording"},
        ),
        ("audioset20k", 527, {74: "Dog"}),
        ("vggsound", 309, {0: "waterfall burbling", 308: "whale calling"}),
        ("esc50", 50, {0: "dog", 38: "clock_tick", 49: "hand_saw"}),
        ("epic_sounds", 44, {0: "metal-only collision", 5: "water", 43: "drink / eat"}),
        ("speech_commands", 35, {0: "backward", 28: "yes", 34: "one"}),
        ("voxceleb1", 1251, {0: "id10001", 269: "id10270", 1250: "id11251"}),
    ],
)
def test_lists_are_complete_and_in_the_order_of_the_papers(corpus, n_classes, known):
    labels = CORPORA[corpus].label_list
    names = labels.names
    assert len(names) == len(set(names)) == len(set(labels.ids)) == n_classes
    assert {place: names[place] for place in known} == known


def test_audioset_has_its_own_ids():
    found = label_list("audioset")
    assert found.ids[found.names.index("Dog")] == "/m/0bt9lr"


def test_an_unknown_table_is_refused():
    with pytest.raises(UnknownNameError, match="did you mean voxceleb1"):
        label_list("voxceleb")
