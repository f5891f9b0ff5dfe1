"""The recording of a request, from its body or from an address, as a nameless file on the disk.

No name from outside is used for anything: the file has none, and what is in it is found out from
its first bytes.
"""

import base64
import binascii
import http.client
import json
from http import HTTPStatus
from tempfile import TemporaryFile
from typing import IO, Any, BinaryIO, cast
from urllib.parse import urlsplit

from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect, Request

from audiomamba.serve.bounded import Stop
from audiomamba.serve.received import Received
from audiomamba.serve.refusal import RefusedError
from audiomamba.serve.service import Service, service_of
from audiomamba.serve.settings import Settings

__all__ = ["receive_json", "receive_recording", "until_left"]

READ_BYTES = 1 << 16
LARGEST_JSON_BYTES = 32_000_000  # it is held in memory
DEFAULT_PORTS = {"http": 80, "https": 443}


async def receive_recording(request: Request, address: str | None = None) -> Received:
    """Take the recording of a request.

    Args:
        request: its body is the recording, or a form with one file.
        address: where the recording is instead; only hosts that the server may fetch from.

    Returns:
        The recording.

    Raises:
        RefusedError: there is no room for it, none came, or the address is not allowed.
    """
    service = service_of(request)
    service.work.check_room()
    if address is not None:
        return await _fetched(request, service, address)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        file = await (_from_form(request) if kind == "multipart/form-data" else _raw(request))
    except ClientDisconnect:
        raise RefusedError.left() from None
    if not file.read(1):
        file.close()
        raise RefusedError(HTTPStatus.BAD_REQUEST, "empty", "the body is empty; expected a sound")
    return Received(file)


async def receive_json(request: Request) -> tuple[Received, dict[str, Any]]:
    """Take the recording of a request in the form of the hub's inference services.

    Args:
        request: its body is {"inputs": the recording in base64, "parameters": {...}}.

    Returns:
        The recording and the parameters.

    Raises:
        RefusedError: the body is something else, or too large to be held in memory.
    """
    service_of(request).work.check_room()
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_JSON_BYTES:
            message = f"JSON may have {LARGEST_JSON_BYTES} bytes; send the recording as it is"
            raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "bytes", message)
    try:
        content = json.loads(body)
        sound = base64.b64decode(content["inputs"], validate=True)
        parameters = content.get("parameters") or {}
        wrong = not isinstance(parameters, dict) or not sound
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, binascii.Error):
        wrong = True
    if wrong:
        message = 'expected {"inputs": a recording in base64, "parameters": {}}'
        raise RefusedError(HTTPStatus.BAD_REQUEST, "json", message)
    file = _new_file()
    file.write(sound)
    return Received(file), parameters


async def until_left(request: Request) -> None:
    """Wait until the client of a request leaves, once its body has come.

    Args:
        request: the request.
    """
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _new_file() -> BinaryIO:
    """A file without a name, which libsndfile can read by its descriptor."""
    return cast(BinaryIO, TemporaryFile(buffering=0))


async def _raw(request: Request) -> BinaryIO:
    """The body as it is."""
    file = _new_file()
    try:
        async for chunk in request.stream():
            file.write(chunk)
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return file


async def _from_form(request: Request) -> BinaryIO:
    """The one file of a form."""
    form = await request.form(max_files=1, max_fields=0)
    files = [value for value in form.values() if isinstance(value, UploadFile)]
    if not files:
        raise RefusedError(HTTPStatus.BAD_REQUEST, "empty", "the form has no file; expected one")
    return files[0].file


async def _fetched(request: Request, service: Service, address: str) -> Received:
    """What is at an address."""
    check_address(address, service.settings)
    async for _ in request.stream():  # the body, which should be empty
        pass
    file = await service.work.run(
        lambda stop: _fetch(address, service.settings, stop),
        left=lambda: until_left(request),
        finish=lambda: None,
    )
    n_bytes = file.tell()
    file.seek(0)
    try:
        service.spool.take(n_bytes)
    except RefusedError:
        file.close()
        raise
    return Received(file, lambda: service.spool.give_back(n_bytes))


def check_address(address: str, settings: Settings) -> None:
    """Refuse an address whose host is not named.

    Args:
        address: where a recording is.
        settings: says which hosts are allowed.

    Raises:
        RefusedError: it is not allowed.

    Examples:
        >>> check_address("https://sounds.org/a.wav", Settings(allow_fetch=("sounds.org",)))
    """
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    host = parts.hostname or ""
    allowed = {f"{host}:{port}"} if port else {host, f"{host}:{DEFAULT_PORTS.get(parts.scheme)}"}
    named = allowed & set(settings.allow_fetch)
    if parts.scheme not in DEFAULT_PORTS or not named or "@" in parts.netloc:
        message = "this server does not fetch from that address; see --allow-fetch"
        raise RefusedError(HTTPStatus.FORBIDDEN, "address", message)


def _fetch(address: str, settings: Settings, stop: Stop) -> BinaryIO:
    """What is at an address that is allowed; redirects are not followed."""
    parts = urlsplit(address)
    kinds = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
    connection = kinds[parts.scheme](parts.netloc, timeout=settings.idle_s)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    file = _new_file()
    try:
        connection.request("GET", target, headers={"accept-encoding": "identity"})
        answer = connection.getresponse()
        if answer.status != HTTPStatus.OK:
            raise _not_fetched(f"the answer there is {answer.status}")
        _copy(answer, file, settings, stop)
    except (OSError, http.client.HTTPException, ValueError) as error:
        file.close()
        raise _not_fetched(str(error) or type(error).__name__) from error
    except RefusedError:
        file.close()
        raise
    finally:
        connection.close()
    return file


def _copy(answer: IO[bytes], file: BinaryIO, settings: Settings, stop: Stop) -> None:
    """Keep what comes, up to the largest body."""
    n_bytes = 0
    while block := answer.read(READ_BYTES):
        stop.check()
        n_bytes += len(block)
        if n_bytes > settings.max_bytes:
            message = f"the recording there is too large; expected at most {settings.max_mb:g} MB"
            raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "bytes", message)
        file.write(block)


def _not_fetched(reason: str) -> RefusedError:
    message = f"the address cannot be fetched: {reason}"
    return RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, "address", message)
