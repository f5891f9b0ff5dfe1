"""A process that computes parts, as the process that started it says.

It ends when that one ends. What it is at work with is said before it begins, so that a file that
ends the process is known.
"""

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory
from typing import Any

from audiomamba import checkpoints, infer
from audiomamba.bulk.decoding import Decoded, Decoders
from audiomamba.bulk.group import Computer
from audiomamba.bulk.part import is_done, schema_of, write_part
from audiomamba.bulk.plan import Plan
from audiomamba.bulk.sources import Recording
from audiomamba.errors import AudioMambaError, ConfigError, DataError
from audiomamba.infer.device import use_threads
from audiomamba.infer.sound_model import SoundModel

__all__ = ["GROUP_FILES", "Job", "WorkerOptions", "work"]

Said = dict[str, Any]

GROUP_FILES = 16  # that are computed together
N_AHEAD = 2 * GROUP_FILES  # files that are decoded before their turn


@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """How a worker works.

    Args:
        device: where the model computes, "cpu" or "cuda:N".
        n_threads: of the processor, for the model.
        n_decoders: processes that decode.
        limit_s: seconds that decoding one file may take.
        spool_bytes: of temporary files, for each decoded file that is too long for memory.
    """

    device: str = "cpu"
    n_threads: int = 1
    n_decoders: int = 1
    limit_s: float = 600.0
    spool_bytes: int = 8_000_000_000


@dataclass(frozen=True, kw_only=True)
class Job:
    """A part to compute.

    Args:
        part: its number.
        lost: indices of files that ended a worker, whose rows say so.
        suspects: indices of files that are first tried alone, because some of them may do so.
    """

    part: int
    lost: tuple[int, ...] = ()
    suspects: tuple[int, ...] = ()


class Worker:
    """Computes parts of a plan; used as a context.

    Args:
        plan: the plan.
        options: how it works.
        decoders: what decodes the files.
        say: tells the process that started this one what goes on.
    """

    def __init__(
        self, plan: Plan, options: WorkerOptions, decoders: Decoders, say: Callable[[Said], None]
    ) -> None:
        self._plan, self._decoders, self._say = plan, decoders, say
        sound_model, computation = _load(plan, options), plan.computation
        self._rate_hz = sound_model.front_end.sample_rate
        self._computer = Computer(sound_model, computation)
        self._schema = schema_of(computation).with_metadata(
            {"audiomamba": json.dumps(_about(plan))}
        )

    def do(self, job: Job) -> None:
        """Compute a part, unless it is done by now.

        Args:
            job: the part.

        Raises:
            ConfigError: storage cannot be read or written.
        """
        storage, part = self._plan.storage, job.part
        try:
            if is_done(storage, part):
                self._say({"event": "done", "part": part, "n_rows": 0, "n_failed": 0})
                return
            recordings = self._plan.part(part)
            self._try(job, recordings)
            rows = [row for group in self._groups(job, recordings) for row in group]
            done = write_part(storage, part, rows, self._schema)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise ConfigError(f"{storage} cannot be written: {reason}") from error
        counts = {"n_rows": done.n_rows, "n_failed": done.n_failed}
        self._say({"event": "done", "part": part, **counts})

    def _try(self, job: Job, recordings: list[Recording]) -> None:
        """Compute suspects one by one, for nothing but to see if they end the process."""
        for index in job.suspects:
            one = recordings[index]
            self._say({"event": "at", "file": index})
            self._computer.rows([one.name], list(self._decoders.decode([one], self._rate_hz, 0)))
        if job.suspects:
            self._say({"event": "tried", "part": job.part})

    def _groups(self, job: Job, recordings: list[Recording]) -> Iterator[list[dict[str, Any]]]:
        """The rows of a part, group by group."""
        lost = {index: f"{recordings[index].name}: ended the process twice" for index in job.lost}
        todo = (lost.get(index, one) for index, one in enumerate(recordings))
        decoded = self._decoders.decode(todo, self._rate_hz, N_AHEAD)
        for start in range(0, len(recordings), GROUP_FILES):
            group = recordings[start : start + GROUP_FILES]
            files: list[Decoded | str] = [next(decoded) for _ in group]
            self._say({"event": "at", "group": start})
            yield self._computer.rows([one.name for one in group], files)


def _about(plan: Plan) -> dict[str, Any]:
    """What the rows depend on, for the metadata of their files."""
    names = ("audiomamba", "model", "model_sha256", "computation")
    return {name: plan.facts[name] for name in names}


def _load(plan: Plan, options: WorkerOptions) -> SoundModel:
    """Load the plan's model, on the device."""
    use_threads(options.n_threads)
    storage, computation = plan.storage, plan.computation
    with ExitStack() as stack:
        if storage.folder is not None:
            folder = storage.folder / "model"
        else:
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="audiomamba-model-")))
            for name in storage.names("model"):
                (folder / name).write_bytes(storage.read(f"model/{name}"))
        if checkpoints.fingerprint(folder) != plan.facts["model_sha256"]:
            raise DataError(f"{storage.at('model')} is not the model of the plan any more")
        tagger = infer.load(folder, labels=computation.labels, all_labels=computation.all_labels)
    return tagger.to(options.device)


def work(
    line: Connection, out: str, options: WorkerOptions, environment: Mapping[str, str]
) -> None:
    """Compute parts as they come, in a process of its own.

    Args:
        line: to the process that started this one: jobs come, None for the end; what goes on is
            said.
        out: the output's folder or address.
        options: how.
        environment: of the process that asks for this one, which another one has started.
    """
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the other process says when to end
    try:
        with Decoders(options.n_decoders, options.limit_s, options.spool_bytes) as decoders:
            jobs = _listen(line)
            worker = Worker(Plan.open(out), options, decoders, line.send)
            line.send({"event": "ready"})
            while (job := jobs.get()) is not None:
                worker.do(job)
    except (AudioMambaError, OSError) as error:
        line.send({"event": "error", "message": " ".join(str(error).split())})


def _listen(line: Connection) -> "SimpleQueue[Job | None]":
    """The jobs that come; when the other process is gone, this one ends at once."""
    jobs: SimpleQueue[Job | None] = SimpleQueue()

    def listen() -> None:
        with suppress(EOFError, OSError):
            while True:
                jobs.put(line.recv())
        os._exit(1)

    threading.Thread(target=listen, daemon=True).start()
    return jobs
