"""Connections on which no request comes to its end of headers are cut."""

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["PatientProtocol", "patient_protocol"]


class PatientProtocol(H11Protocol):
    """HTTP as uvicorn speaks it, with a limit on the time that a request's headers take."""

    headers_s = 10.0
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Take a connection."""
        super().connection_made(transport)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Give up a connection."""
        self._unwatch()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        super().data_received(data)
        between = self.cycle is None or self.cycle.response_complete
        if not between or self.transport.get_protocol() is not self:  # or it is a WebSocket now
            self._unwatch()
        elif self._deadline is None:
            self._watch()

    def _watch(self) -> None:
        self._deadline = self.loop.call_later(self.headers_s, self._cut)

    def _unwatch(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _cut(self) -> None:
        self._deadline = None
        self.transport.abort()


def patient_protocol(headers_s: float) -> type[PatientProtocol]:
    """Choose how long the headers of a request may take.

    Args:
        headers_s: seconds.

    Returns:
        What uvicorn makes connections of.

    Examples:
        >>> patient_protocol(2.0).headers_s
        2.0
    """
    return type("PatientProtocol", (PatientProtocol,), {"headers_s": headers_s})
