"""Pictures, as matplotlib writes them."""

from pathlib import Path
from typing import TYPE_CHECKING

from audiomamba.infer.formats.format import Format, choose_by_suffix

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["PICTURE_FORMATS", "Picture", "check_picture", "drawable", "save_picture"]


class Picture(Format):
    """A picture; matplotlib goes by the suffix."""

    name = "a picture"
    suffixes = (".png", ".svg", ".pdf")
    needs = ("matplotlib", "plot")


PICTURE_FORMATS = (Picture,)


def check_picture(file: Path) -> None:
    """Say, before any work is done, if a picture cannot be drawn.

    Args:
        file: where it is to go.

    Raises:
        ConfigError: no format has this suffix, or the file's folder does not exist.
        MissingDependencyError: matplotlib is not installed.
    """
    choose_by_suffix(PICTURE_FORMATS, file, "a picture")


def save_picture(figure: "Figure", file: Path) -> None:
    """Write a picture, completely or not at all.

    Args:
        figure: the picture.
        file: where it goes; its suffix says the format.

    Raises:
        ConfigError: it cannot be written.
    """
    import warnings

    from audiomamba.atomic import replacing
    from audiomamba.outputs import writing

    with writing(file), replacing(file) as part, warnings.catch_warnings():
        # Of a script that the fonts lack, boxes are drawn.
        warnings.filterwarnings("ignore", r"Glyph \d+")
        figure.savefig(part, dpi=120, format=file.suffix[1:].lower())


def drawable(text: str, width: int) -> str:
    r"""Make a text of one line that there is room for, whatever is in it.

    Args:
        text: such as a label.
        width: the most characters, more than 3.

    Returns:
        The text, or its beginning and "...".

    Examples:
        >>> drawable("Hi-hat\n(open)", 20), drawable("Bathtub (filling or washing)", 12)
        ('Hi-hat (open)', 'Bathtub (...')
    """
    line = " ".join(text.encode(errors="backslashreplace").decode().split())
    return line if len(line) <= width else line[: width - 3] + "..."
