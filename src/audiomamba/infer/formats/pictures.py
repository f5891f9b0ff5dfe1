"""Pictures, as matplotlib writes them."""

from pathlib import Path

from audiomamba.infer.formats.format import Format, choose_by_suffix

__all__ = ["PICTURE_FORMATS", "Picture", "check_picture"]


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
