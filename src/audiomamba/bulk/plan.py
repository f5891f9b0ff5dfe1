"""The plan of a bulk run: which files there are, cut into parts, and what is computed of each.

OUT/plan/NUMBER-HASH.parquet   the files, a part in each row group
OUT/model/                     the model
OUT/run.json                   what is computed, and of how many files; written last

Files stand in the order of a hash of their names, so that every part is a random mix of all, and
the same files make the same plan in whatever order they were found.
"""

import io
import json
import os
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import blake2b, sha256
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any, Self

from audiomamba import __version__
from audiomamba.bulk.computation import Computation
from audiomamba.bulk.sources import Recording
from audiomamba.errors import ConfigError, DataError, MissingDependencyError
from audiomamba.storage import Storage

__all__ = ["PART_FILES", "RUN", "Plan", "make_plan"]

RUN = "run.json"
FORMAT = 1  # of the folder; another number is of another version
PART_FILES = 1000
PARTS_PER_FILE = 1000
N_BUCKETS = 256  # of hashes that are sorted at once
HEAD = struct.Struct("<8sQqqHH")  # hash, start, size, mtime_ns, bytes of file and of member
UNKNOWN = -1


@dataclass(frozen=True)
class Plan:
    """A plan that was made.

    Args:
        storage: where it is, and where the results go.
        facts: what run.json holds.

    Examples:
        >>> from audiomamba import checkpoints
        >>> from audiomamba.bulk.sources import list_recordings
        >>> plan = make_plan(
        ...     list_recordings("my-clips"), "tagged", checkpoints.find("general"), Computation()
        ... )
        >>> plan.n_files, plan.n_parts, [one.file[-9:] for one in plan.part(0)][:2]
        (4, 1, ['dog/1.wav', 'dog/2.wav'])
    """

    storage: Storage
    facts: dict[str, Any]

    @classmethod
    def open(cls, out: str) -> Self:
        """Open a plan.

        Args:
            out: the output's folder or address.

        Returns:
            The plan.

        Raises:
            ConfigError: there is none.
            DataError: it is damaged, or of another version.
        """
        storage = Storage(out)
        try:
            facts = json.loads(storage.read(RUN))
        except FileNotFoundError as error:
            raise ConfigError(
                f"{out}: there is no plan; `audiomamba bulk plan SOURCE --out {out}` makes one"
            ) from error
        except OSError as error:
            raise ConfigError(f"{out} cannot be read: {error.strerror or error}") from error
        except ValueError as error:
            raise DataError(f"{storage.at(RUN)} is damaged; plan anew in another folder") from error
        if facts.get("format") != FORMAT:
            raise DataError(f"{out}: planned by another version; this one reads format {FORMAT}")
        return cls(storage, facts)

    @property
    def n_files(self) -> int:
        """How many files there are."""
        return int(self.facts["n_files"])

    @property
    def n_parts(self) -> int:
        """How many parts there are."""
        return int(self.facts["n_parts"])

    @property
    def computation(self) -> Computation:
        """What is computed of each file."""
        return Computation.from_dict(self.facts["computation"])

    def n_files_of(self, part: int) -> int:
        """Count the files of a part.

        Args:
            part: its number.

        Returns:
            How many it has; all but the last have as many.
        """
        size = int(self.facts["part_files"])
        return min(size, self.n_files - part * size)

    def part(self, number: int) -> list[Recording]:
        """Read one part's list.

        Args:
            number: of the part, from 0.

        Returns:
            Its files.

        Raises:
            OSError: the plan cannot be read.
        """
        from pyarrow.parquet import ParquetFile

        name = self.facts["plan"][number // PARTS_PER_FILE]
        with self.storage.open(f"plan/{name}") as file, ParquetFile(file) as parts:
            table = parts.read_row_group(number % PARTS_PER_FILE)
        columns = table.to_pydict()
        return [
            Recording(os.fsdecode(file), os.fsdecode(member), *others)
            for file, member, *others in zip(*columns.values(), strict=True)
        ]


def make_plan(
    recordings: Iterable[Recording],
    out: str,
    model: Path,
    computation: Computation,
    *,
    part_files: int = PART_FILES,
    progress: Callable[[int], None] | None = None,
) -> Plan:
    """Write a plan; recordings are taken as they come, and never all held.

    Args:
        recordings: the files; one that comes twice counts once.
        out: folder or address for the plan and the results; it is made.
        model: the model's folder, which is copied there.
        computation: what is computed of each file.
        part_files: files in a part, at least 1.
        progress: called with the number of files so far, now and then.

    Returns:
        The plan.

    Raises:
        ConfigError: there is a plan already, there are no files, or nothing can be written there.
        MissingDependencyError: pyarrow is not installed.

    Examples:
        >>> from audiomamba import checkpoints
        >>> recordings = [Recording("/archive/dog.wav"), Recording("/archive/rain.wav")]
        >>> make_plan(recordings, "planned", checkpoints.find("general"), Computation()).n_files
        2
    """
    _check(out, part_files)
    storage = Storage(out)
    if storage.exists(RUN):
        raise ConfigError(f"{out} holds a plan already; `audiomamba bulk run` goes on with it")
    try:
        with TemporaryDirectory(prefix="audiomamba-plan-") as folder:
            buckets = _spool(recordings, Path(folder), progress)
            facts = _write_lists(storage, buckets, part_files)
        about = _copy_model(model, storage)
        facts |= {**about, "computation": computation.to_dict()}
        storage.write(RUN, json.dumps(facts, indent=2).encode())
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigError(f"{out} cannot be written: {reason}") from error
    return Plan(storage, facts)


def _write_lists(storage: Storage, buckets: Iterable[Path], part_files: int) -> dict[str, Any]:
    """Write the lists of files; returns what is said of them."""
    names, n_files, n_parts = [], 0, 0
    for name, table, n_rows, n_groups in _tables(buckets, part_files):
        storage.write(f"plan/{name}", table)
        names.append(name)
        n_files, n_parts = n_files + n_rows, n_parts + n_groups
    if not n_files:
        raise ConfigError("there are no recordings to plan for")
    return {
        "format": FORMAT,
        "audiomamba": __version__,
        "n_files": n_files,
        "n_parts": n_parts,
        "part_files": part_files,
        "plan": names,
    }


def _check(out: str, part_files: int) -> None:
    """Refuse what cannot work, before any work is done."""
    try:
        import pyarrow  # noqa: F401, ICN001  # for the message
    except ImportError as error:
        raise MissingDependencyError("pyarrow", "bulk", f"{out}: a plan") from error
    if part_files < 1:
        raise ConfigError(f"a part of {part_files} files was asked for; expected at least 1")


def _copy_model(model: Path, storage: Storage) -> dict[str, str]:
    """Put the model beside the plan; returns what is said of it."""
    from audiomamba import checkpoints

    for file in sorted(one for one in model.iterdir() if one.is_file()):
        storage.write(f"model/{file.name}", file.read_bytes())
    return {"model": model.name, "model_sha256": checkpoints.fingerprint(model)}


def _spool(
    recordings: Iterable[Recording], folder: Path, progress: Callable[[int], None] | None
) -> list[Path]:
    """Sort recordings into files by the first byte of their hash."""
    paths = [folder / f"{number:03d}" for number in range(N_BUCKETS)]
    with ExitStack() as stack:
        buckets: list[IO[bytes]] = [stack.enter_context(path.open("wb")) for path in paths]
        for number, one in enumerate(recordings, start=1):
            file, member = os.fsencode(one.file), os.fsencode(one.member)
            digest = blake2b(file + b"#" + member, digest_size=8).digest()
            size = UNKNOWN if one.size is None else one.size
            mtime_ns = UNKNOWN if one.mtime_ns is None else one.mtime_ns
            head = HEAD.pack(digest, one.start, size, mtime_ns, len(file), len(member))
            buckets[digest[0]].write(head + file + member)
            if progress is not None and number % PART_FILES == 0:
                progress(number)
    return paths


_Listed = tuple[bytes, bytes, bytes, int, int, int]  # hash, file, member, start, size, mtime_ns


def _sorted_rows(buckets: Iterable[Path]) -> Iterator[_Listed]:
    """All recordings in the order of their hashes, each once."""
    for bucket in buckets:
        rows, data, at = [], bucket.read_bytes(), 0
        while at < len(data):
            digest, start, size, mtime_ns, n_file, n_member = HEAD.unpack_from(data, at)
            at += HEAD.size
            file, member = data[at : at + n_file], data[at + n_file : at + n_file + n_member]
            at += n_file + n_member
            rows.append((digest, file, member, start, size, mtime_ns))
        rows.sort()
        last = None
        for row in rows:
            if row[:3] != last:
                yield row
            last = row[:3]


def _tables(buckets: Iterable[Path], part_files: int) -> Iterator[tuple[str, bytes, int, int]]:
    """The plan's files: name, content, and how many files and parts are in them."""
    rows, number = _sorted_rows(buckets), 0
    while True:
        data, n_files, n_parts = _table(rows, part_files)
        if not n_parts:
            return
        yield f"{number:06d}-{sha256(data).hexdigest()[:16]}.parquet", data, n_files, n_parts
        number += 1


def _table(rows: Iterator[_Listed], part_files: int) -> tuple[bytes, int, int]:
    """One of the plan's files, and how many files and parts are in it."""
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    # Names are kept as the system has them, which need not be text.
    kinds = {"file": pa.binary(), "member": pa.binary(), "start": pa.int64()}
    schema = pa.schema({**kinds, "size": pa.int64(), "mtime_ns": pa.int64()})
    out, n_files, n_parts = io.BytesIO(), 0, 0
    with ParquetWriter(out, schema, compression="zstd") as writer:
        while n_parts < PARTS_PER_FILE and (part := list(islice(rows, part_files))):
            columns: list[Sequence[Any]] = list(zip(*sorted(it[1:] for it in part), strict=True))
            columns[3:] = [[None if one == UNKNOWN else one for one in it] for it in columns[3:]]
            arrays = [pa.array(it, kind) for it, kind in zip(columns, schema.types, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema), len(part))
            n_files, n_parts = n_files + len(part), n_parts + 1
    return out.getvalue(), n_files, n_parts
