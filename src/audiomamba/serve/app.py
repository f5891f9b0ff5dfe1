"""The server's app: all addresses behind the gate."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp

from audiomamba import __version__
from audiomamba.errors import (
    AudioError,
    AudioMambaError,
    ConfigError,
    MissingDependencyError,
)
from audiomamba.serve import answers, live, pages, recordings, state
from audiomamba.serve.gate import Gate, refusal_answer
from audiomamba.serve.refusal import RefusedError
from audiomamba.serve.service import Service, service_of

__all__ = ["make_app"]

# What went wrong, the status of the answer, and what is counted.
FAILURES: tuple[tuple[type[AudioMambaError], HTTPStatus, str], ...] = (
    (AudioError, HTTPStatus.UNPROCESSABLE_ENTITY, "sound"),
    (MissingDependencyError, HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "decoder"),
    (ConfigError, HTTPStatus.BAD_REQUEST, "parameters"),
    (AudioMambaError, HTTPStatus.INTERNAL_SERVER_ERROR, "other"),
)


def make_app(service: Service) -> ASGIApp:
    """Make the app.

    Args:
        service: the models and what is allowed.

    Returns:
        What a server of ASGI runs.
    """

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        warming = asyncio.get_running_loop().run_in_executor(None, service.warm_up)
        yield
        await warming
        service.close()

    app = FastAPI(
        title="audiomamba",
        version=__version__,
        description="Says what is heard in recordings, and in sound as it comes.",
        docs_url=None,  # its page would come from elsewhere
        redoc_url=None,
        lifespan=life,
    )
    app.state.service = service
    for part in (answers, live, pages, recordings, state):
        app.include_router(part.router)
    app.mount("/page", pages.files())
    if service.settings.allow_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=service.settings.allow_origins,
            allow_methods=("GET", "POST", "DELETE"),
            allow_headers=("authorization", "content-type"),
        )
    app.add_exception_handler(RefusedError, _refused)
    app.add_exception_handler(ClientDisconnect, _left)
    app.add_exception_handler(AudioMambaError, _failed)
    app.add_exception_handler(RequestValidationError, _wrong)
    app.add_exception_handler(HTTPException, _by_status)
    return Gate(app, service.settings, service.spool, service.metrics)


def _refused(request: Request, error: Exception) -> Response:
    """Answer a request that is refused."""
    refused = error if isinstance(error, RefusedError) else RefusedError(500, "other", str(error))
    service_of(request).metrics.rejected(refused.reason)
    return refusal_answer(refused)


def _left(request: Request, _: Exception) -> Response:
    """Count a client that left before its body was there."""
    return _refused(request, RefusedError.left())


def _failed(request: Request, error: Exception) -> Response:
    """Answer a request whose recording or parameters cannot be used."""
    _, status, reason = next(row for row in FAILURES if isinstance(error, row[0]))
    return _refused(request, RefusedError(status, reason, str(error)))


def _wrong(request: Request, error: Exception) -> Response:
    """Answer a request with a parameter that is none."""
    found = error.errors()[0] if isinstance(error, RequestValidationError) else {}
    where = ".".join(str(part) for part in found.get("loc", ())[1:])
    message = f"{where} is {found.get('input')!r}: {found.get('msg')}"
    return _refused(request, RefusedError(HTTPStatus.BAD_REQUEST, "parameters", message))


def _by_status(request: Request, error: Exception) -> Response:
    """Answer a request for an address that is not there, or that cannot be parsed."""
    known = error if isinstance(error, HTTPException) else HTTPException(500)
    reason = HTTPStatus(known.status_code).phrase.lower()
    answer = _refused(request, RefusedError(known.status_code, reason, str(known.detail)))
    answer.headers.update(known.headers or {})
    return answer
