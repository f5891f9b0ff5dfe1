"""The label lists of the corpora that released weights were trained on."""

from audiomamba.data.labels import LISTS, label_names

__all__ = ["packaged_labels"]

# Names of released.CORPORA that are spelled otherwise there.
SPELLED = {"voxceleb": "voxceleb1", "speech_commands_v2": "speech_commands"}


def packaged_labels(corpus: str | None, n_classes: int) -> tuple[str, ...]:
    """The names of a corpus's classes in the order of the released models' outputs.

    Args:
        corpus: a name of released.CORPORA; None if unknown.
        n_classes: how many classes the model has.

    Returns:
        The packaged list of the corpus if there is one, else "class 0", "class 1" and so on.
    """
    name = SPELLED.get(corpus or "", corpus)
    if name in LISTS:
        return label_names(name)
    return tuple(f"class {index}" for index in range(n_classes))
