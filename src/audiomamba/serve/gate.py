"""What every request passes before anything reads it: origin, token, bytes and time.

Bytes are counted as they come, before any parser, whether a length was announced or not. An answer
that is ready before the body has come is sent at once; what the client still sends is then thrown
away for a moment, so that it can read the answer.
"""

import asyncio
import hmac
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from urllib.parse import urlsplit

from prometheus_client import Gauge
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from audiomamba.serve.metrics import Metrics
from audiomamba.serve.refusal import LEFT, RefusedError
from audiomamba.serve.settings import BYTES_PER_MB, Settings

__all__ = ["CONTENT_SECURITY", "Gate", "Spool", "refusal_answer"]

LINGER_S = 2.0
OPEN_PATHS = ("/health", "/ready", "/openapi.json")  # these tell nothing that is secret
OPEN_FOLDER = "/page/"
TOKEN_PROTOCOL = "bearer."  # browsers cannot send a header with a WebSocket
CONTENT_SECURITY = (
    "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; style-src 'self'; "
    "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SECURITY_HEADERS = {
    "content-security-policy": CONTENT_SECURITY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "microphone=(self)",
}


def refusal_answer(refused: RefusedError) -> JSONResponse:
    """Make the answer to a refused request.

    Args:
        refused: why.

    Returns:
        The error in one line, as JSON.
    """
    line = " ".join(str(refused).split())
    return JSONResponse({"error": line}, refused.status, refused.headers)


class Spool:
    """Counts the bytes that the bodies of all requests take, and refuses more than the quota.

    Args:
        quota: in bytes.
        shown: where the count is shown.

    Examples:
        >>> spool = Spool(100, Metrics().spooled)
        >>> spool.take(80)
        >>> spool.take(80)
        Traceback (most recent call last):
            ...
        audiomamba.serve.refusal.RefusedError: the server holds too many recordings; try again
    """

    def __init__(self, quota: int, shown: Gauge) -> None:
        self._quota, self._shown = quota, shown
        self._held, self._lock = 0, threading.Lock()

    def take(self, n_bytes: int) -> None:
        """Count bytes before they are kept.

        Args:
            n_bytes: how many.

        Raises:
            RefusedError: the quota is used up.
        """
        with self._lock:
            if self._held + n_bytes > self._quota:
                message = "the server holds too many recordings; try again"
                raise RefusedError.busy("spool", message, retry_after_s=5)
            self._held += n_bytes
        self._shown.set(self._held)

    def give_back(self, n_bytes: int) -> None:
        """Count bytes that are no longer kept.

        Args:
            n_bytes: how many.
        """
        with self._lock:
            self._held -= n_bytes
        self._shown.set(self._held)


class Gate:
    """Lets requests through to the app that it stands before.

    Args:
        app: what answers.
        settings: what is allowed.
        spool: where the bytes of all bodies are counted.
        metrics: where answers and refusals are counted.
    """

    def __init__(self, app: ASGIApp, settings: Settings, spool: Spool, metrics: Metrics) -> None:
        self._app, self._settings = app, settings
        self._spool, self._metrics = spool, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as ASGI asks for."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        try:
            _check_origin(scope, self._settings.allow_origins)
            _check_token(scope, self._settings.token)
        except RefusedError as refused:
            self._metrics.rejected(refused.reason)
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008, "reason": str(refused)})
                return
            app: ASGIApp = refusal_answer(refused)
        else:
            app = self._app
        if scope["type"] == "websocket":
            await app(scope, receive, send)
            return
        await self._pass(app, scope, receive, send)

    async def _pass(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request over HTTP, with its body and its answer watched."""
        headers = Headers(scope=scope)
        body = _Body(receive, self._settings, self._spool)
        body.is_complete = not _announces_body(headers)
        answer = _Answer(send, body)
        try:
            body.check_announced(headers)
        except RefusedError as refused:
            self._metrics.rejected(refused.reason)
            app = refusal_answer(refused)
        try:
            await app(scope, body.receive, answer.send)
        finally:
            self._spool.give_back(body.n_bytes)
            if body.seconds is not None:
                self._metrics.step("receive", body.seconds)
            self._metrics.answered(_route(scope), answer.status or LEFT)


class _Body:
    """The body of a request as it comes, counted and timed."""

    def __init__(self, receive: Receive, settings: Settings, spool: Spool) -> None:
        self._receive, self._settings, self._spool = receive, settings, spool
        self._began_s = time.monotonic()
        self.n_bytes = 0
        self.is_complete = False
        self.seconds: float | None = None  # that a body took to come

    def check_announced(self, headers: Headers) -> None:
        """Refuse a length that is too large before anything is read."""
        announced = headers.get("content-length")
        if announced is not None and int(announced) > self._settings.max_bytes:
            raise self._too_large()

    async def receive(self) -> Message:
        """The next message; raises RefusedError for bodies that are too large or too slow."""
        if self.is_complete:
            return await self._receive()
        try:
            message = await asyncio.wait_for(self._receive(), self._settings.idle_s)
        except TimeoutError:
            raise self._too_slow() from None
        took_s = time.monotonic() - self._began_s
        if message["type"] != "http.request":
            return message
        n_bytes = len(message.get("body", b""))
        if self.n_bytes + n_bytes > self._settings.max_bytes:
            raise self._too_large()
        self._spool.take(n_bytes)
        self.n_bytes += n_bytes
        if not message.get("more_body", False):
            self.is_complete = True
            self.seconds = took_s if self.n_bytes else None
        elif self.n_bytes < (took_s - self._settings.idle_s) * self._settings.least_bytes_per_s:
            raise self._too_slow()
        return message

    async def throw_away(self) -> None:
        """Read what still comes for a moment, and keep none of it."""
        deadline = time.monotonic() + LINGER_S
        while not self.is_complete and (left_s := deadline - time.monotonic()) > 0:
            try:
                message = await asyncio.wait_for(self._receive(), left_s)
            except TimeoutError:
                return
            self.is_complete = not message.get("more_body", False)

    def _too_large(self) -> RefusedError:
        largest = self._settings.max_bytes / BYTES_PER_MB
        message = f"the body is too large; expected at most {largest:g} MB"
        return RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "bytes", message)

    def _too_slow(self) -> RefusedError:
        message = "the body comes too slowly"
        return RefusedError(HTTPStatus.REQUEST_TIMEOUT, "slow", message)


class _Answer:
    """The answer to a request, with the headers that every answer has."""

    def __init__(self, send: Send, body: _Body) -> None:
        self._send, self._body = send, body
        self.status: int | None = None

    async def send(self, message: Message) -> None:
        """Send a part of the answer."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
            if not self._body.is_complete:
                headers["connection"] = "close"
            if self.status == LEFT:
                return
        if self.status == LEFT:
            return
        last = message["type"] == "http.response.body" and not message.get("more_body", False)
        if last and not self._body.is_complete:
            await self._send({**message, "more_body": True})
            await self._body.throw_away()
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._send(message)


def _announces_body(headers: Headers) -> bool:
    """Whether a request comes with a body."""
    return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"


def _check_origin(scope: Scope, allowed: tuple[str, ...]) -> None:
    """Refuse what a page of another site sends: a browser names the page in the header Origin."""
    headers = Headers(scope=scope)
    origin = headers.get("origin")
    if origin is None or scope.get("method") in ("GET", "HEAD", "OPTIONS") or origin in allowed:
        return
    if urlsplit(origin).netloc.lower() != headers.get("host", "").lower():
        message = f"the page {origin} may not use this server; allow it with --allow-origin"
        raise RefusedError(HTTPStatus.FORBIDDEN, "origin", message)


def _check_token(scope: Scope, token: str | None) -> None:
    """Refuse a request without the token, if there is one."""
    path = scope["path"]
    if token is None or path in OPEN_PATHS or path.startswith(OPEN_FOLDER):
        return
    method = scope.get("method")
    if method == "OPTIONS" or (path == "/" and method in ("GET", "HEAD")):
        return  # what browsers ask first, and the page, which itself asks for the token
    given = [
        header.removeprefix("Bearer ")
        for header in _all(scope, "authorization")
        if header.startswith("Bearer ")
    ]
    for protocols in _all(scope, "sec-websocket-protocol"):
        names = (name.strip() for name in protocols.split(","))
        given += [it.removeprefix(TOKEN_PROTOCOL) for it in names if it.startswith(TOKEN_PROTOCOL)]
    if not any(hmac.compare_digest(one.encode(), token.encode()) for one in given):
        message = "expected the header Authorization: Bearer TOKEN with the server's token"
        raise RefusedError(HTTPStatus.UNAUTHORIZED, "token", message)


def _all(scope: Scope, name: str) -> list[str]:
    return Headers(scope=scope).getlist(name)


def _route(scope: Scope) -> str:
    """The address as the server knows it, so that clients cannot make up new ones."""
    path: Callable[[], str] | str = getattr(scope.get("route"), "path", "other")
    return path if isinstance(path, str) else "other"
