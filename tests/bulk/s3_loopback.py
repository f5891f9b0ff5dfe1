"""Object storage on this machine, for tests: as much of S3 as is used, and a proxy that spoils it.

Both can be told to fail a share of the requests that write: before anything was done, after it was
done, or by hanging up.
"""

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

NAMESPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
TIME = "2026-01-01T00:00:00.000Z"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    objects: dict[str, bytes]
    failing: float
    chance: random.Random
    n_failed: list[int]

    def log_message(self, *_: Any) -> None:
        pass

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"ETag": '"tag"', **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            data = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        return data

    def spoilt(self) -> str:
        """How this request is to fail; empty if it is not."""
        if self.command not in ("PUT", "POST") or self.chance.random() >= self.failing:
            return ""
        self.n_failed[0] += 1
        return self.chance.choice(["before", "after", "hang up"])

    def fail(self, how: str) -> None:
        if how == "hang up":
            self.close_connection = True
        else:
            self.answer(500, b"<Error><Code>InternalError</Code></Error>")


class _Store(_Handler):
    """Answers from memory."""

    def handle_any(self) -> None:
        data, how = self.body(), self.spoilt()
        if self.headers.get("Content-Encoding") == "aws-chunked":
            data = _without_chunks(data)
        if how in ("before", "hang up"):
            self.fail(how)
            return
        parts = urlsplit(self.path)
        key, query = unquote(parts.path).lstrip("/"), parse_qs(parts.query, keep_blank_values=True)
        if how == "after":
            self.answer, answer = lambda *_, **__: None, self.answer  # type: ignore[method-assign]
            getattr(self, f"serve_{self.command.lower()}")(key, query, data)
            self.answer = answer  # type: ignore[method-assign]
            self.fail(how)
        else:
            getattr(self, f"serve_{self.command.lower()}")(key, query, data)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_any  # noqa: N815

    def serve_put(self, key: str, query: dict[str, list[str]], data: bytes) -> None:
        if "partNumber" in query:
            key = f"\0{query['uploadId'][0]}/{int(query['partNumber'][0]):05d}"
        self.objects[key] = data
        self.answer(200)

    def serve_post(self, key: str, query: dict[str, list[str]], _: bytes) -> None:
        if "uploads" in query:
            upload = f"{self.chance.random()}"
            self.answer(
                200,
                f"<InitiateMultipartUploadResult {NAMESPACE}><UploadId>{upload}</UploadId>"
                "</InitiateMultipartUploadResult>".encode(),
            )
            return
        start = f"\0{query['uploadId'][0]}/"
        pieces = sorted(name for name in list(self.objects) if name.startswith(start))
        if pieces:
            self.objects[key] = b"".join(self.objects.pop(name) for name in pieces)
        self.answer(
            200,
            f"<CompleteMultipartUploadResult {NAMESPACE}><ETag>tag</ETag>"
            "</CompleteMultipartUploadResult>".encode(),
        )

    def serve_delete(self, key: str, _query: dict[str, list[str]], _: bytes) -> None:
        self.objects.pop(key, None)
        self.answer(204)

    def serve_head(self, key: str, query: dict[str, list[str]], data: bytes) -> None:
        if "/" not in key.rstrip("/"):
            self.answer(200, x_amz_bucket_region="us-east-1")
        else:
            self.serve_get(key, query, data)

    def serve_get(self, key: str, query: dict[str, list[str]], _: bytes) -> None:
        if "list-type" in query:
            self.serve_list(key.rstrip("/"), query)
            return
        if key not in self.objects:
            self.answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
            return
        data, found = self.objects[key], self.headers.get("Range", "")
        facts = {"Last_Modified": "Thu, 01 Jan 2026 00:00:00 GMT", "Accept_Ranges": "bytes"}
        if found:
            first, last = found.removeprefix("bytes=").split("-")
            piece = data[int(first) : int(last) + 1]
            span = f"bytes {first}-{int(first) + len(piece) - 1}/{len(data)}"
            self.answer(206, piece, Content_Range=span, **facts)
        else:
            self.answer(200, data, **facts)

    def serve_list(self, bucket: str, query: dict[str, list[str]]) -> None:
        prefix, delimiter = query.get("prefix", [""])[0], query.get("delimiter", [""])[0]
        files, folders = [], set()
        for key in sorted(self.objects):
            name = key.removeprefix(f"{bucket}/")
            if key == name or not name.startswith(prefix):
                continue
            head, mark, _ = (
                name[len(prefix) :].partition(delimiter) if delimiter else (name, "", "")
            )
            if mark:
                folders.add(f"{prefix}{head}{delimiter}")
            else:
                files.append((name, len(self.objects[key])))
        text = "".join(
            f"<Contents><Key>{escape(name)}</Key><Size>{size}</Size>"
            f"<LastModified>{TIME}</LastModified></Contents>"
            for name, size in files
        ) + "".join(
            f"<CommonPrefixes><Prefix>{escape(folder)}</Prefix></CommonPrefixes>"
            for folder in sorted(folders)
        )
        count = len(files) + len(folders)
        self.answer(
            200,
            f"<ListBucketResult {NAMESPACE}><IsTruncated>false</IsTruncated>"
            f"<KeyCount>{count}</KeyCount>{text}</ListBucketResult>".encode(),
        )


class _Proxy(_Handler):
    """Hands requests on to another server."""

    target: str

    def handle_any(self) -> None:
        data, how = self.body(), self.spoilt()
        if how in ("before", "hang up"):
            self.fail(how)
            return
        connection = HTTPConnection(self.target, timeout=60)
        headers = {
            name: value
            for name, value in self.headers.items()
            if name.lower() not in ("transfer-encoding", "content-length", "expect", "connection")
        }
        connection.request(self.command, self.path, data, headers)
        answer = connection.getresponse()
        body = answer.read()
        if how:
            self.fail(how)
        else:
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                    self.send_header(name, value)
            size = answer.getheader("Content-Length") if self.command == "HEAD" else len(body)
            self.send_header("Content-Length", str(size))
            self.end_headers()
            self.wfile.write(body)
        connection.close()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_any  # noqa: N815


def _without_chunks(data: bytes) -> bytes:
    """What is in the chunks of a body that is sent as AWS does."""
    found = b""
    while data:
        head, _, data = data.partition(b"\r\n")
        size = int(head.partition(b";")[0], 16)
        if not size:
            break
        found, data = found + data[:size], data[size + 2 :]
    return found


@contextmanager
def serving(failing: float = 0.0, target: str = "") -> Iterator[tuple[str, list[int]]]:
    """Serve object storage; yields its address, and how many requests have failed so far."""
    n_failed = [0]
    names = {"objects": {}, "failing": failing, "chance": random.Random(0), "n_failed": n_failed}
    handler = type("Handler", (_Proxy if target else _Store,), {**names, "target": target})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", n_failed
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
