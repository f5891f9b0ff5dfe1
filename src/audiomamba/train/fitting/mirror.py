"""A copy of a run on object storage, from which another machine can go on.

What changed is copied whenever the state is saved, and the state last: what is there is never
behind the state that a run would go on from.
"""

from pathlib import Path

from audiomamba.errors import ConfigError
from audiomamba.storage import Storage
from audiomamba.train.run import Run

__all__ = ["Mirror"]

FOLDERS = ("best", "last")


class Mirror:
    """A run's copy; without an address it does nothing.

    Args:
        run: the run.
        address: where the copy is, s3://... or gs://..., or another folder; None for nowhere.

    Raises:
        ConfigError: the address is not understood, or cannot be reached.

    Examples:
        >>> run = Run(Path("run"))
        >>> run.folder.mkdir()
        >>> _ = run.record_path.write_text("{}")
        >>> Mirror(run, "copy").push()
        >>> Mirror(Run(Path("elsewhere")), "copy").restore()
        >>> Path("elsewhere/run.json").read_text()
        '{}'
    """

    def __init__(self, run: Run, address: str | None) -> None:
        self._run, self._address = run, address
        self._storage = None if address is None else Storage(address)
        self._sent: dict[str, tuple[int, int]] = {}  # size and time of change of what is there

    def restore(self) -> None:
        """Fetch what is there, where the run's own folder holds no run.

        Raises:
            ConfigError: it cannot be read, or the folder cannot be written.
        """
        storage, run = self._storage, self._run
        try:
            if storage is None or run.record_path.exists():
                return
            names = [name for name in storage.names("") if not name.startswith(".")]
            names += [f"{folder}/{name}" for folder in FOLDERS for name in storage.names(folder)]
            record = run.record_path.name
            for name in sorted(names, key=lambda name: name == record):  # which says that all is
                path = run.folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                storage.download(name, path)
        except OSError as error:
            raise self._failure("fetched from", error) from error

    def push(self) -> None:
        """Copy what has changed since the last time.

        Raises:
            ConfigError: it cannot be written.
        """
        storage, run = self._storage, self._run
        if storage is None:
            return
        files = [run.record_path, run.metrics_path]
        for folder in FOLDERS:
            files += sorted((run.folder / folder).glob("*"))
        try:
            for path in (*files, run.state_path):
                if path.is_file():
                    self._send(storage, path)
        except OSError as error:
            raise self._failure("copied to", error) from error

    def _send(self, storage: Storage, path: Path) -> None:
        status, name = path.stat(), path.relative_to(self._run.folder).as_posix()
        known = status.st_size, status.st_mtime_ns
        if self._sent.get(name) != known:
            storage.upload(path, name)
            self._sent[name] = known

    def _failure(self, done: str, error: OSError) -> ConfigError:
        reason = " ".join((error.strerror or str(error)).lower().split())
        return ConfigError(f"{self._run.folder} cannot be {done} {self._address}: {reason}")
