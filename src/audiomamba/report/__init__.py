"""Runs as a page for the browser: curves, classes, confusions, and the clips worth hearing.

write_report([Path("runs/mine")], Path("report.html"))
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from audiomamba.report.page import write_report

__all__ = ["write_report"]

_HOME = {"write_report": "page"}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
