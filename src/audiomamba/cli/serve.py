"""`audiomamba serve`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from audiomamba.cli.options import (
    DEFAULT_MODEL,
    AllLabels,
    Device,
    LabelFile,
    Level,
    Threads,
    load_tagger,
)
from audiomamba.errors import ConfigError, MissingDependencyError

if TYPE_CHECKING:
    from audiomamba.infer import Tagger

__all__ = ["EXAMPLES", "need_extra", "serve"]

EXAMPLES = (
    "Examples:\n\n`audiomamba serve`\n\n"
    "`audiomamba serve general ./my-birds --port 8080`\n\n"
    "`audiomamba serve --host 0.0.0.0 --token token.txt`"
)
LIMITS = "Limits"
ACCESS = "Access"
GPU_BATCH = 64
GPU_WORKERS = 8  # whose windows are gathered


Models = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[NAME|DIR]...",
        show_default=DEFAULT_MODEL,
        help="Shipped models, and models' folders; the first is the default of requests.",
    ),
]
Host = Annotated[
    str, typer.Option(metavar="ADDRESS", help="Where to listen; 0.0.0.0 for all networks.")
]
Port = Annotated[
    int, typer.Option(min=0, max=65535, metavar="N", help="The port; 0 for a free one.")
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        show_default=f"one for each core, {GPU_WORKERS} on a GPU",
        help="Requests that are worked on at once.",
    ),
]
Batch = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        show_default=f"{GPU_BATCH} on a GPU, none on a processor",
        help="Windows of several requests to /v1/tag that are heard at once.",
    ),
]
BatchWait = Annotated[
    float,
    typer.Option(metavar="MS", help="With --batch: how long windows wait for those of others."),
]
MaxMb = Annotated[
    float, typer.Option(metavar="MB", rich_help_panel=LIMITS, help="Largest body of a request.")
]
MaxSeconds = Annotated[
    float, typer.Option(metavar="S", rich_help_panel=LIMITS, help="Longest recording, decoded.")
]
Queue = Annotated[
    int,
    typer.Option(
        min=1, metavar="N", rich_help_panel=LIMITS, help="Requests that may wait for a worker."
    ),
]
TimeLimit = Annotated[
    float,
    typer.Option(
        metavar="S", rich_help_panel=LIMITS, help="Longest time for a request, once it is here."
    ),
]
Idle = Annotated[
    float,
    typer.Option(
        metavar="S", rich_help_panel=LIMITS, help="How long a client may be silent until it is cut."
    ),
]
Live = Annotated[
    int, typer.Option(min=1, metavar="N", rich_help_panel=LIMITS, help="Live connections at once.")
]
SpoolMb = Annotated[
    float,
    typer.Option(
        metavar="MB", rich_help_panel=LIMITS, help="Disk for all bodies that are worked on."
    ),
]
KeptMb = Annotated[
    float,
    typer.Option(metavar="MB", rich_help_panel=LIMITS, help="Disk for what the page has open."),
]
Token = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        show_default="no token",
        rich_help_panel=ACCESS,
        help="Ask clients for the token in this file, as Authorization: Bearer TOKEN.",
    ),
]
AllowFetch = Annotated[
    list[str] | None,
    typer.Option(
        metavar="HOST[:PORT]",
        show_default="none",
        rich_help_panel=ACCESS,
        help="Let the server fetch recordings from this host; repeatable.",
    ),
]
AllowOrigin = Annotated[
    list[str] | None,
    typer.Option(
        metavar="ORIGIN",
        show_default="none",
        rich_help_panel=ACCESS,
        help="Let the pages of another site, as https://my.site, use the server; repeatable.",
    ),
]


def serve(
    models: Models = None,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    workers: Workers = None,
    threads: Threads = None,
    device: Device = "cpu",
    labels: LabelFile = None,
    level: Level = None,
    all_labels: AllLabels = False,
    max_mb: MaxMb = 100.0,
    max_seconds: MaxSeconds = 21600.0,
    queue: Queue = 8,
    batch: Batch = None,
    batch_wait: BatchWait = 5.0,
    time_limit: TimeLimit = 120.0,
    idle: Idle = 10.0,
    live: Live = 4,
    spool_mb: SpoolMb = 1000.0,
    kept_mb: KeptMb = 4000.0,
    token: Token = None,
    allow_fetch: AllowFetch = None,
    allow_origin: AllowOrigin = None,
) -> None:
    """Answer over HTTP and on a page in the browser what is heard in recordings.

    The page at / takes recordings and the microphone. Programs send recordings to /v1/tag,
    /v1/timeline and /v1/embed, and sound as it comes to /v1/live; /openapi.json says how.
    Nothing that is sent is kept, but what the page has open, until it is closed.

    Ctrl-C or SIGTERM ends the server when the requests that are worked on are answered.
    """
    need_extra("fastapi", "uvicorn", "websockets", "python_multipart", "prometheus_client")
    from audiomamba.cores import n_cores
    from audiomamba.serve.command import serve as run_server
    from audiomamba.serve.settings import Settings

    n_threads, on_gpu = threads or 1, device != "cpu"
    settings = Settings(
        max_mb=max_mb,
        max_seconds=max_seconds,
        spool_mb=spool_mb,
        kept_mb=kept_mb,
        n_workers=workers or (GPU_WORKERS if on_gpu else max(1, n_cores() // n_threads)),
        n_queued=queue,
        batch_windows=batch or (GPU_BATCH if on_gpu else None),
        batch_wait_ms=batch_wait,
        n_live=live,
        time_limit_s=time_limit,
        idle_s=idle,
        token=None if token is None else _token_in(token),
        allow_fetch=tuple(allow_fetch or ()),
        allow_origins=tuple(allow_origin or ()),
    )
    taggers: dict[str, Tagger] = {}
    for name, folder in _folders(models or [DEFAULT_MODEL]).items():
        taggers[name] = load_tagger(
            folder, device, n_threads, label_file=labels, level=level, all_labels=all_labels
        )
    run_server(taggers, settings, host=host, port=port, tell=_tell)


def need_extra(*modules: str) -> None:
    """Say in one line if the server's packages are not installed.

    Args:
        *modules: what is imported.

    Raises:
        MissingDependencyError: one of them is not installed.
    """
    from importlib import import_module

    for module in modules:
        try:
            import_module(module)
        except ImportError as error:
            raise MissingDependencyError(module, "serve", "this command") from error


def _folders(models: list[str]) -> dict[str, Path]:
    """The folders of models by the names that requests use."""
    from audiomamba import checkpoints

    folders: dict[str, Path] = {}
    for model in models:
        name = Path(model).resolve().name if Path(model).is_dir() else model
        if name in folders:
            raise ConfigError(f"two models are called {name}; expected different names of folders")
        folders[name] = checkpoints.find(model)
    return folders


def _token_in(file: Path) -> str:
    """The text of a file, without what surrounds it."""
    try:
        token = file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = (getattr(error, "strerror", None) or "").lower() or "no UTF-8 text"
        raise ConfigError(f"--token {file}: {reason}") from error
    if not token:
        raise ConfigError(f"--token {file}: the file is empty; expected a token in it")
    return token


def _tell(line: str) -> None:
    typer.echo(f"audiomamba: {line}", err=True)
