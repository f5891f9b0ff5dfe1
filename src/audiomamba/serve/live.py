"""Sound as it comes, over a WebSocket: samples in, what is heard out."""

import asyncio
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from queue import SimpleQueue
from typing import Annotated, Any, BinaryIO, Literal, cast

from fastapi import APIRouter, Query, WebSocket
from starlette.websockets import WebSocketDisconnect

from audiomamba.audio.pipe import RawSound, read_pipe
from audiomamba.errors import AudioMambaError
from audiomamba.infer import Event, Tagger
from audiomamba.infer.formats.text import json_line
from audiomamba.infer.live import find_events_live, live_rule, tag_live
from audiomamba.infer.reading import TagOptions
from audiomamba.infer.results import TaggedWindow
from audiomamba.serve import parameters as given
from audiomamba.serve.refusal import RefusedError
from audiomamba.serve.service import Service, service_of

__all__ = ["PROTOCOL", "SoundPipe", "router"]

PROTOCOL = "audiomamba"  # what a browser that sends a token as a protocol is answered
END = "end"  # the message after which nothing comes
BLOCKS_AHEAD = 8  # messages that may wait for the model; then the client waits
DONE, REFUSED, TRY_LATER = 1000, 1008, 1013  # codes that close a WebSocket

router = APIRouter()
Rate = Annotated[int, Query(description="Samples per second.")]
Encoding = Annotated[
    Literal["f32", "s16"], Query(description="Samples: floats from -1 to 1, or 16-bit integers.")
]


class SoundPipe(io.BufferedIOBase):
    """Bytes that a loop puts in and a thread reads; the loop waits while too many are unread.

    Examples:
        >>> async def pass_on() -> list[bytes]:
        ...     pipe = SoundPipe()
        ...     await pipe.put(b"abc")
        ...     pipe.end()
        ...     return [await asyncio.to_thread(pipe.read1, 2) for _ in range(3)]
        >>> asyncio.run(pass_on())
        [b'ab', b'c', b'']
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._room = asyncio.Semaphore(BLOCKS_AHEAD)
        self._blocks: SimpleQueue[bytes | None] = SimpleQueue()
        self._rest = b""
        self._is_over = self._is_left = False

    async def put(self, block: bytes) -> None:
        """Put bytes in.

        Args:
            block: the bytes.
        """
        await self._room.acquire()
        if block:
            self._blocks.put(block)

    def end(self) -> None:
        """Say that nothing else comes."""
        self._blocks.put(None)

    def leave(self) -> None:
        """Say that nobody wants to know any more what is in the bytes."""
        self._is_left = True
        self._blocks.put(None)

    def read1(self, size: int = -1, /) -> bytes:
        """Give what there is, and wait if there is nothing; nothing at the end."""
        if not self._rest and not self._is_over:
            block = self._blocks.get()
            self._is_over = block is None
            self._rest = block or b""
            with suppress(RuntimeError):  # the loop may be closed
                self._loop.call_soon_threadsafe(self._room.release)
        if self._is_left:
            raise RefusedError.left()
        size = len(self._rest) if size < 0 else size
        given, self._rest = self._rest[:size], self._rest[size:]
        return given


@router.websocket("/v1/live")
async def live(
    socket: WebSocket,
    rate: Rate,
    format: Encoding = "f32",  # noqa: A002
    model: given.ModelName = None,
    top_k: given.TopK = None,
    threshold: given.Threshold = None,
    window_s: given.Window = None,
    hop_s: given.Hop = None,
    events: Annotated[bool, Query(description="Give events, each when it is over.")] = False,
) -> None:
    """Say what is heard in sound as it comes, as `audiomamba tag - --json` does.

    The client sends samples as binary messages of any length, and the text "end" after the last.
    """
    service = service_of(socket)
    await socket.accept(PROTOCOL if PROTOCOL in socket.scope.get("subprotocols", []) else None)
    if top_k is None and not threshold:
        top_k = 1
    try:
        raw = RawSound(min(rate, service.settings.max_rate_hz), format)
        tagger = service.tagger(model)
        options = TagOptions(top=top_k, threshold=threshold or 0.0, window_s=window_s, hop_s=hop_s)
        tagger.check(options)
    except (AudioMambaError, RefusedError) as error:
        await _refuse(socket, str(error), REFUSED)
        return
    if service.n_live >= service.settings.n_live:
        service.metrics.rejected("live")
        await _refuse(socket, "all live connections are in use; try again", TRY_LATER)
        return
    service.count_live(1)
    try:
        await _Session(socket, service).run(tagger, raw, options, events=events)
    finally:
        service.count_live(-1)


async def _refuse(socket: WebSocket, message: str, code: int) -> None:
    """Say why, and close."""
    line = " ".join(message.split())
    with suppress(WebSocketDisconnect, RuntimeError):  # it may be closed already
        await socket.send_text(json_line({"error": line}))
        await socket.close(code, line[:100])


class _Session:
    """One live connection: its messages are read here, a thread of its own hears them."""

    def __init__(self, socket: WebSocket, service: Service) -> None:
        self._socket, self._service = socket, service
        self._loop, self._pipe = asyncio.get_running_loop(), SoundPipe()

    async def run(
        self, tagger: Tagger, raw: RawSound, options: TagOptions, *, events: bool
    ) -> None:
        """Hear until the client ends or leaves."""
        blocks = read_pipe(cast(BinaryIO, self._pipe), tagger.front_end.sample_rate, raw)
        found: Iterator[Event | TaggedWindow]
        if events:
            rule = live_rule(tagger, options.threshold)
            found = find_events_live(tagger, blocks, options, rule)
        else:
            found = tag_live(tagger, blocks, options)
        thread = ThreadPoolExecutor(1, thread_name_prefix="live")
        hearing = self._loop.run_in_executor(thread, self._hear, found)
        reading = asyncio.ensure_future(self._read())
        both: set[asyncio.Future[Any]] = {hearing, reading}
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if reading.done() and (why := reading.result()):
                await _refuse(self._socket, why, REFUSED)
                return
            await hearing
            await self._socket.close(DONE)
        except (AudioMambaError, RefusedError) as error:
            await _refuse(self._socket, str(error), REFUSED)
        except (WebSocketDisconnect, RuntimeError, TimeoutError):
            pass  # the client has left, or takes no answers
        finally:
            self._pipe.leave()
            reading.cancel()
            await asyncio.gather(hearing, return_exceptions=True)
            thread.shutdown(wait=False)

    async def _read(self) -> str:
        """Take messages until the client ends; returns why it is cut, if it is."""
        while True:
            try:
                idle_s = self._service.settings.idle_s
                message = await asyncio.wait_for(self._socket.receive(), idle_s)
            except TimeoutError:
                return "no sound came for too long"
            if message["type"] == "websocket.disconnect":
                self._pipe.leave()
                return ""
            if (text := message.get("text")) is not None:
                if text != END:
                    return f'the text {text[:20]!r} came; expected samples, or "{END}"'
                self._pipe.end()
                return ""
            await self._pipe.put(message.get("bytes") or b"")

    def _hear(self, found: Iterator[Event | TaggedWindow]) -> None:
        """Send what is heard, in a thread; a client that does not take it stops the hearing."""
        heard_s = 0.0
        for one in found:
            self._service.metrics.heard(max(0.0, one.end_s - heard_s))
            heard_s = max(heard_s, one.end_s)
            sent = asyncio.run_coroutine_threadsafe(
                self._socket.send_text(json_line(one.to_dict())), self._loop
            )
            sent.result(self._service.settings.idle_s)
