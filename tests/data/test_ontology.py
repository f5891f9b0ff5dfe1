"""The ontology of AudioSet: every label has its node, and every path leads to a root."""

from audiomamba.data.labels import label_list
from audiomamba.data.labels.ontology import audioset_parents

ROOTS = {
    "Animal",
    "Channel, environment and background",
    "Human sounds",
    "Music",
    "Natural sounds",
    "Source-ambiguous sounds",
    "Sounds of things",
}


def test_every_label_of_audioset_is_a_node() -> None:
    assert set(label_list("audioset").names) <= audioset_parents().keys()
    assert len(audioset_parents()) == 632


def test_every_path_leads_to_one_of_seven_roots() -> None:
    parents = audioset_parents()
    assert {name for name, above in parents.items() if not above} == ROOTS

    for name in parents:
        level = {name}
        for _ in range(8):  # the ontology is six levels deep: a circle would go on
            level = {above for node in level for above in parents[node]} or level
        assert level <= ROOTS


def test_a_kind_with_two_parents_has_both() -> None:
    assert audioset_parents()["Bark"] == ("Dog",)
    assert set(audioset_parents()["Church bell"]) >= {"Bell"}
    assert any(len(above) > 1 for above in audioset_parents().values())
