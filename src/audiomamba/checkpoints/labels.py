"""The label lists of the corpora that released weights were trained on."""

from importlib.resources import files

__all__ = ["packaged_labels"]


def packaged_labels(corpus: str | None, n_classes: int) -> tuple[str, ...]:
    """The names of a corpus's classes in the order of the released models' outputs.

    Args:
        corpus: a name of released.CORPORA; None if unknown.
        n_classes: how many classes the model has.

    Returns:
        The packaged list of the corpus if there is one, else "class 0", "class 1" and so on.
    """
    path = files("audiomamba.checkpoints").joinpath("label_lists", f"{corpus}.txt")
    if corpus is not None and path.is_file():
        return tuple(path.read_text("utf-8").splitlines())
    return tuple(f"class {index}" for index in range(n_classes))
