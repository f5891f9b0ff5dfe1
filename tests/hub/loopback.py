"""A small Hugging Face hub, and a small server of files, on this machine only.

It answers what huggingface_hub asks when it looks at a repository, fetches files of it, makes one
and uploads to it. Files may be changed, cut off or slowed down on their way.
"""

import base64
import hashlib
import json
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

Start = Callable[..., subprocess.Popen[str]]
LARGE = 10_000  # bytes from which on a file is described by its SHA-256, as large files are


def etag(data: bytes) -> str:
    if len(data) >= LARGE:
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


@dataclass
class Hub:
    """What is served, and what was asked.

    Args:
        url: where.
        repos: files of each repository, by commit.
        branches: the commit of each branch, by repository and name.
        files: other files, below /files/.
        sent: files whose bytes are not what is said of them, by name.
        slow: names of files that come in small pieces, with a pause after each.
        cut: how many times a file's answer ends in the middle, by name.
        moved: where a file has gone, by name.
        asked: method and path of every request.
    """

    url: str = ""
    repos: dict[str, dict[str, dict[str, bytes]]] = field(default_factory=dict)
    branches: dict[tuple[str, str], str] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    sent: dict[str, bytes] = field(default_factory=dict)
    slow: set[str] = field(default_factory=set)
    cut: dict[str, int] = field(default_factory=dict)
    moved: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, str, str]] = field(default_factory=list)

    def put(self, repo: str, files: dict[str, bytes], branch: str = "main") -> str:
        """Add a commit to a branch; return it."""
        text = json.dumps({name: etag(data) for name, data in files.items()}, sort_keys=True)
        commit = hashlib.sha1(f"{repo}{text}".encode(), usedforsecurity=False).hexdigest()
        self.repos.setdefault(repo, {})[commit] = dict(files)
        self.branches[repo, branch] = commit
        return commit

    def commit_of(self, repo: str, revision: str) -> str | None:
        found = self.branches.get((repo, revision), revision)
        return found if found in self.repos.get(repo, {}) else None

    def n_bodies(self, name: str) -> int:
        """How often a file's bytes were asked for."""
        return sum(verb == "GET" and path.endswith(f"/{name}") for verb, path, _ in self.asked)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append((self.command, path, self.headers.get("Range", "")))
        if path.startswith("/files/"):
            return self._web_file(path.removeprefix("/files/"))
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path):
            return self._describe(found[1], found[2] or "main")
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/([^/]+).*", path):
            return self._tree(found[1], found[2])
        if found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            return self._resolve(*found.groups())
        return self._fail(404, "EntryNotFound")

    def do_POST(self) -> None:
        path = unquote(urlsplit(self.path).path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.hub.asked.append(("POST", path, ""))
        if path == "/api/repos/create":
            values = json.loads(body)
            owner = values.get("organization") or "me"
            name = f"{owner}/{values['name']}"
            self.hub.put(name, {})
            return self._json({"url": f"{self.hub.url}/{name}", "name": name, "id": name})
        if path == "/api/validate-yaml":
            return self._json({"errors": [], "warnings": []})
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/preupload/(.+)", path):
            names = [it["path"] for it in json.loads(body)["files"]]
            modes = [
                {"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names
            ]
            return self._json({"files": modes})
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/(.+)", path):
            return self._commit(found[1], found[2], body)
        return self._fail(404, "EntryNotFound")

    def _commit(self, repo: str, branch: str, body: bytes) -> None:
        old = self.hub.commit_of(repo, branch)
        files = dict(self.hub.repos[repo][old]) if old else {}
        for line in body.splitlines():
            item = json.loads(line)
            if item["key"] == "file":
                files[item["value"]["path"]] = base64.b64decode(item["value"]["content"])
        commit = self.hub.put(repo, files, branch)
        url = f"{self.hub.url}/{repo}/commit/{commit}"
        self._json({"success": True, "commitOid": commit, "commitUrl": url, "hookOutput": ""})

    def _describe(self, repo: str, revision: str) -> None:
        if repo not in self.hub.repos:
            return self._fail(404, "RepoNotFound")
        commit = self.hub.commit_of(repo, revision)
        if commit is None:
            return self._fail(404, "RevisionNotFound")
        siblings = []
        for name, data in self.hub.repos[repo][commit].items():
            one = {"rfilename": name, "size": len(data), "blobId": "0" * 40}
            if len(data) >= LARGE:
                one["lfs"] = {"sha256": etag(data), "size": len(data), "pointerSize": 134}
            else:
                one["blobId"] = etag(data)
            siblings.append(one)
        return self._json({"id": repo, "sha": commit, "siblings": siblings, "private": False})

    def _tree(self, repo: str, revision: str) -> None:
        commit = self.hub.commit_of(repo, revision)
        if commit is None:
            return self._fail(404, "RevisionNotFound")
        entries = [
            {"type": "file", "path": name, "size": len(data), "oid": etag(data)}
            for name, data in self.hub.repos[repo][commit].items()
        ]
        return self._json(entries)

    def _resolve(self, repo: str, revision: str, name: str) -> None:
        if repo not in self.hub.repos:
            return self._fail(404, "RepoNotFound")
        commit = self.hub.commit_of(repo, revision)
        if commit is None:
            return self._fail(404, "RevisionNotFound")
        data = self.hub.repos[repo][commit].get(name)
        if data is None:
            return self._fail(404, "EntryNotFound")
        headers = {"X-Repo-Commit": commit, "ETag": f'"{etag(data)}"'}
        return self._send(name, self.hub.sent.get(name, data), headers)

    def _web_file(self, name: str) -> None:
        if name in self.hub.moved:
            self.send_response(302)
            self.send_header("Location", self.hub.moved[name])
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None
        if name not in self.hub.files:
            return self._fail(404, "")
        data = self.hub.sent.get(name, self.hub.files[name])
        return self._send(name, data, {"ETag": f'"{hashlib.md5(data).hexdigest()}"'})

    def _send(self, name: str, data: bytes, headers: dict[str, str]) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        version = self.headers.get("If-Range", headers["ETag"])
        begin = int(asked[1]) if asked and version == headers["ETag"] else 0
        if begin > len(data):
            return self._fail(416, "")
        self.send_response(206 if begin else 200)
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - begin))
        self.send_header("Accept-Ranges", "bytes")
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self._body(name, data, begin)
        return None

    def _body(self, name: str, data: bytes, begin: int) -> None:
        end = len(data)
        if self.hub.cut.get(name, 0) > 0:
            self.hub.cut[name] -= 1
            end = begin + (len(data) - begin) // 2
            self.close_connection = True
        step = 2_000 if name in self.hub.slow else len(data) + 1
        for at in range(begin, end, step):
            try:
                self.wfile.write(data[at : min(at + step, end)])
                self.wfile.flush()
            except OSError:  # who asked is gone
                self.close_connection = True
                return
            if name in self.hub.slow:
                time.sleep(0.02)

    def _json(self, values: Any) -> None:
        data = json.dumps(values).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _fail(self, status: int, code: str) -> None:
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()


@contextmanager
def serving() -> Iterator[Hub]:
    """Serve on a free port of this machine."""
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
