"""What all addresses of one server share."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

import torch
from starlette.requests import HTTPConnection

from audiomamba.errors import UnknownNameError
from audiomamba.infer import Tagger
from audiomamba.serve.batching import Batcher
from audiomamba.serve.bounded import BoundedTagger, Stop
from audiomamba.serve.gate import Spool
from audiomamba.serve.metrics import Metrics
from audiomamba.serve.opened import OpenedRecordings
from audiomamba.serve.refusal import RefusedError
from audiomamba.serve.settings import BYTES_PER_MB, Settings
from audiomamba.serve.work import WorkQueue

__all__ = ["Service", "service_of"]


@dataclass
class Service:
    """What all addresses of one server share.

    Args:
        taggers: the models by name; the first is used where no name is given.
        settings: what is allowed.
        metrics: what is counted.
    """

    taggers: Mapping[str, Tagger]
    settings: Settings
    metrics: Metrics = field(default_factory=Metrics)
    is_warm: bool = False
    n_live: int = 0

    def __post_init__(self) -> None:
        self._batchers = {
            name: Batcher(
                tagger.score_features,
                n_windows=self.settings.batch_windows,
                wait_s=self.settings.batch_wait_ms / 1000,
                told=self.metrics.batched,
            )
            for name, tagger in self.taggers.items()
            if self.settings.batch_windows is not None
        }
        self.work = WorkQueue(self.settings, self.metrics)
        self.spool = Spool(int(self.settings.spool_mb * BYTES_PER_MB), self.metrics.spooled)
        kept = Spool(int(self.settings.kept_mb * BYTES_PER_MB), self.metrics.kept)
        self.opened = OpenedRecordings(self.settings, kept)

    def tagger(self, name: str | None) -> Tagger:
        """Look up a model.

        Args:
            name: as the server was started with; None for the first.

        Returns:
            The model.

        Raises:
            RefusedError: there is no such model.
        """
        chosen = name or next(iter(self.taggers))
        if chosen not in self.taggers:
            message = str(UnknownNameError("model", chosen, self.taggers))
            raise RefusedError(HTTPStatus.NOT_FOUND, "model", message)
        return self.taggers[chosen]

    def bounded(self, name: str | None, stop: Stop) -> BoundedTagger:
        """Make a tagger for one request.

        Args:
            name: as for tagger.
            stop: says when the work is no longer wanted.

        Returns:
            The tagger.

        Raises:
            RefusedError: there is no such model.
        """
        tagger = self.tagger(name)
        batcher = self._batchers.get(name or next(iter(self.taggers)))
        return BoundedTagger(tagger, self.settings, stop, batcher)

    def close(self) -> None:
        """End the workers."""
        self.opened.end()
        self.work.close()
        for batcher in self._batchers.values():
            batcher.close()

    def count_live(self, change: int) -> None:
        """Count live connections.

        Args:
            change: 1 for a new one, -1 for the end of one.
        """
        self.n_live += change
        self.metrics.live.set(self.n_live)

    def warm_up(self) -> None:
        """Let every model hear something, so that the first request takes no longer than others."""
        for tagger in self.taggers.values():
            noise = 0.01 * torch.randn(tagger.front_end.n_samples)
            tagger.tag((noise, tagger.front_end.sample_rate))
            tagger.timeline((noise, tagger.front_end.sample_rate))
        self.is_warm = True


def service_of(connection: HTTPConnection) -> Service:
    """Look up what is shared.

    Args:
        connection: a request or a WebSocket.

    Returns:
        What belongs to the server that it came to.
    """
    service: Service = connection.app.state.service
    return service
