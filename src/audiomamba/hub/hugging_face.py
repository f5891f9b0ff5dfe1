"""Files of the Hugging Face hub, fetched by huggingface_hub and checked here.

They stay in the cache of huggingface_hub, where other programs find them too. That library does not
look at what came: each file's hash is compared here with the one that the hub publishes, once, and
again if the file changed.
"""

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from audiomamba.errors import ConfigError, DownloadError, MissingDependencyError
from audiomamba.hub.address import ENDINGS, HubAddress
from audiomamba.hub.cache import is_checked, note_checked
from audiomamba.hub.network import endpoint, is_offline, progress

__all__ = ["Snapshot", "check_file", "fetch_from_hub", "newest_commit"]

PREFERRED = ("model.safetensors", "pytorch_model.bin")
BESIDE = ("config.json", "preprocessor_config.json")  # what says how to use the weights
TIMEOUT_S = 30
LARGEST_BYTES = 8 << 30  # of a file of weights
COMMIT = re.compile("[0-9a-f]{40}")
SHA256 = re.compile("[0-9a-f]{64}")
N_NAMED = 8


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Files of one commit of a repository.

    Args:
        folder: where they are; other files of the repository may be there or not.
        commit: which.
        weights: the file of weights.
        sha256: of that file.

    Examples:
        >>> folder = Path("snapshots/abc")
        >>> Snapshot(
        ...     folder=folder, commit="abc", weights=folder / "model.safetensors", sha256="0" * 64
        ... ).weights.name
        'model.safetensors'
    """

    folder: Path
    commit: str
    weights: Path
    sha256: str


def newest_commit(address: HubAddress) -> str:
    """Ask the hub which commit a revision is.

    Args:
        address: the repository and the revision.

    Returns:
        The commit, 40 hexadecimal digits.

    Raises:
        ConfigError: there is no such repository or revision.
        DownloadError: the hub cannot be asked.

    Examples:
        >>> from audiomamba.hub import without_network
        >>> with without_network():
        ...     newest_commit(HubAddress(repo="me/mine"))
        Traceback (most recent call last):
        audiomamba.errors.DownloadError: ...
    """
    return str(_ask(address).sha)


def fetch_from_hub(address: HubAddress) -> Snapshot:
    """Fetch a repository's weights, and what says how to use them.

    Args:
        address: the repository, the revision, and perhaps the file.

    Returns:
        Where they are.

    Raises:
        ConfigError: there is no such repository, revision or file.
        DownloadError: the network may not be used or does not work, or what came is not what the
            hub says.
        MissingDependencyError: huggingface_hub is not installed.

    Examples:
        >>> from audiomamba.hub import without_network
        >>> with without_network():
        ...     fetch_from_hub(HubAddress(repo="me/mine"))
        Traceback (most recent call last):
        audiomamba.errors.DownloadError: ...
    """
    found = _local(address) if is_offline() else _remote(address)
    if address.sha256 is not None and found.weights.name == address.files[0]:
        check_file(found.weights, address.sha256, f"{address}: {found.weights.name}")
    return found


def check_file(path: Path, expected: str, name: str) -> None:
    """Refuse a file that does not have its hash, and delete it.

    Args:
        path: the file, or a link to it.
        expected: SHA-256, or the SHA-1 that git gives it, in hexadecimal digits.
        name: what to call it.

    Raises:
        DownloadError: it has another.

    Examples:
        >>> path = Path("weights.pth")
        >>> _ = path.write_bytes(b"not what was published")
        >>> check_file(path, "0" * 64, "weights.pth")
        Traceback (most recent call last):
        audiomamba.errors.DownloadError: weights.pth is not the file that the hub describes: ...
        >>> path.exists()
        False
    """
    if is_checked(path, expected):
        return
    found = _hash(path, expected)
    if found != expected:
        path.resolve().unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        raise DownloadError(
            f"{name} is not the file that the hub describes: its hash is {found}, expected "
            f"{expected}; what was fetched is deleted"
        )
    note_checked(path, expected)


def _remote(address: HubAddress) -> Snapshot:
    """Fetch with the network."""
    hub, info = _library(), _ask(address)
    hashes = {it.rfilename: it.lfs.sha256 if it.lfs else it.blob_id for it in info.siblings}
    chosen = _choose(address, list(hashes))
    _refuse_size(address, {it.rfilename: it.size or 0 for it in info.siblings}[chosen])
    folder = Path()
    for name in (chosen, *(it for it in BESIDE if it in hashes)):
        with _one_line(address):
            path = Path(
                hub.hf_hub_download(
                    address.repo,
                    name,
                    revision=info.sha,
                    endpoint=endpoint(),
                    tqdm_class=_progress_class(),
                )
            )
        check_file(path, hashes[name], f"{address}: {name}")
        folder = path.parents[name.count("/")]
    weights = folder / chosen
    return Snapshot(folder=folder, commit=info.sha, weights=weights, sha256=_sha256(weights))


def _refuse_size(address: HubAddress, size: int) -> None:
    if size > LARGEST_BYTES:
        raise DownloadError(
            f"{address} has {size:,} bytes; expected at most {LARGEST_BYTES:,}; nothing was fetched"
        )


def _local(address: HubAddress) -> Snapshot:
    """Take what huggingface_hub has fetched before."""
    hub = _library()
    try:
        found = hub.snapshot_download(
            address.repo, revision=address.revision, local_files_only=True
        )
        folder = Path(found)
        chosen = _choose(address, [it.relative_to(folder).as_posix() for it in folder.rglob("*")])
    except (OSError, ConfigError) as error:
        raise DownloadError(
            f"{address} is not in the cache, and this call may use no network; fetch it once with "
            f"audiomamba pull {address}"
        ) from error
    weights = folder / chosen
    blob = weights.resolve().name
    if SHA256.fullmatch(blob):  # large files are called by their hash
        check_file(weights, blob, f"{address}: {chosen}")
    return Snapshot(folder=folder, commit=folder.name, weights=weights, sha256=_sha256(weights))


def _choose(address: HubAddress, there: list[str]) -> str:
    """The file of weights, among all files of a repository."""
    if address.files:
        chosen = [name for name in address.files if name in there][:1]
        wanted = " or ".join(address.files)
    else:
        could = [it for it in there if it.endswith(ENDINGS) and "/" not in it]
        chosen = [name for name in PREFERRED if name in could][:1]
        safe = [name for name in could if name.endswith(".safetensors")]
        chosen = chosen or (safe if len(safe) == 1 else could if len(could) == 1 else [])
        wanted = "one file of weights; give hf:org/name/FILE"
    if not chosen:
        weights = [it for it in there if it.endswith(ENDINGS)][:N_NAMED]
        has = ", ".join(weights) or "no files of weights"
        raise ConfigError(f"{address}: it has {has}; expected {wanted}")
    return chosen[0]


def _ask(address: HubAddress) -> Any:
    """What the hub says of a repository."""
    if is_offline():
        raise DownloadError(f"{address}: this call may use no network")
    with _one_line(address):
        return (
            _library()
            .HfApi(endpoint=endpoint())
            .model_info(
                address.repo, revision=address.revision, files_metadata=True, timeout=TIMEOUT_S
            )
        )


@contextmanager
def _one_line(address: HubAddress) -> Iterator[None]:
    """Turn the errors of huggingface_hub into ours."""
    errors: Any = import_module("huggingface_hub.errors")
    where = endpoint()
    try:
        yield
    except errors.GatedRepoError as error:
        raise DownloadError(
            f"{address}: its owner asks for consent to conditions; give it on "
            f"{where}/{address.repo}, then log in with hf auth login"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise ConfigError(
            f"{address}: no such repository on {where}, or a private one; check the "
            "name, or log in with hf auth login"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise ConfigError(
            f"{address}: the repository has no revision {address.revision!r}; expected a branch, "
            "a tag or a commit of it"
        ) from error
    except errors.EntryNotFoundError as error:
        raise DownloadError(f"{address}: the hub does not give out a file that it lists") from error
    except (errors.HTTPError, errors.XetDownloadError, OSError) as error:
        lines = str(error).splitlines() or [type(error).__name__]
        raise DownloadError(
            f"{address} cannot be fetched from {where} ({lines[0]}); check the "
            "connection, or use what is in the cache with --offline"
        ) from error


def _library() -> Any:
    """The library, or what to do without it."""
    try:
        import huggingface_hub
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "huggingface_hub", "hub", "fetching weights from the Hugging Face hub"
        ) from error
    return huggingface_hub


def _progress_class() -> type:
    """A bar of the library that draws nothing and tells ours."""
    tqdm: Any = import_module("huggingface_hub.utils").tqdm

    class Told(tqdm):  # type: ignore[misc]
        """Counts bytes."""

        def __init__(self, *values: Any, **settings: Any) -> None:
            self.done, self.all = int(settings.get("initial") or 0), settings.get("total") or 0
            super().__init__(*values, **settings | {"disable": True})

        def update(self, n: float | None = 1) -> None:
            """Count on."""
            self.done += int(n or 0)
            progress(self.done, int(self.all))

    return Told


def _hash(path: Path, expected: str) -> str:
    """A file's hash of the kind that is expected."""
    if not COMMIT.fullmatch(expected):
        return _sha256(path)
    found = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            found.update(block)
    return found.hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
