"""What all commands that load models have: the option --offline, and a bar for downloads."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from functools import wraps
from typing import Annotated, Any

import typer

from audiomamba.terminal import counter

__all__ = ["fetches"]

Offline = Annotated[
    bool,
    typer.Option(
        "--offline", help="Use no network: only models that are here, or were fetched before."
    ),
]


def fetches(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command that loads models the option --offline, and a bar for downloads.

    Args:
        command: the command's function.

    Returns:
        The same with one more option.
    """

    @wraps(command)
    def run(*values: Any, offline: bool = False, **options: Any) -> None:
        from audiomamba.hub import without_network

        with without_network() if offline else nullcontext(), _bar():
            command(*values, **options)

    signature = inspect.signature(command)
    option = inspect.Parameter(
        "offline", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Offline
    )
    changed = signature.replace(parameters=[*signature.parameters.values(), option])
    run.__dict__["__signature__"] = changed
    run.__annotations__ = {**command.__annotations__, "offline": Offline}
    return run


@contextmanager
def _bar() -> Iterator[None]:
    """Show how far each download is, from its first bytes to its last."""
    from audiomamba.hub import reporting

    with ExitStack() as stack:
        shown: list[Callable[[int, int], None]] = []

        def tell(done: int, total: int) -> None:
            if not shown:
                shown.append(stack.enter_context(counter("fetching", "bytes")))
            shown[0](done, total)
            if done >= total:
                stack.close()
                shown.clear()

        with reporting(tell):
            yield
