import pytest

from audiomamba.data.split_names import known_split


@pytest.mark.parametrize(
    ("split", "names"),
    [
        ("train", "train Train TRAIN training Training trn train_set trainset Train-Data train_1"),
        ("valid", "val Val valid validation Validation validate dev devset val_set audio-val"),
        ("test", "test Test testing TST eval evaluation holdout hold-out held_out test_clips"),
        ("ignore", "ignore Ignore ignored exclude unused skip"),
        ("3", "3 03 fold3 fold_3 Fold-3 split3 3.0"),
        (None, "dog rain training_day testament evaluator devil value trainer folder 3b -1 3.5"),
    ],
)
def test_usual_names_are_understood_and_no_others(split, names):
    assert {name: known_split(name) for name in names.split()} == dict.fromkeys(
        names.split(), split
    )


@pytest.mark.parametrize("name", ["", " ", "set", "audio", "-"])
def test_a_name_that_says_nothing_is_none(name):
    assert known_split(name) is None


def test_spaces_do_not_matter():
    assert [known_split(name) for name in (" Test set ", "fold 2", "Held out")] == [
        "test",
        "2",
        "test",
    ]
