"""A server with the part of the Hugging Face hub's interface that uploads and downloads use."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

__all__ = ["Hub", "serving"]

TOKEN = "hf_" + "x" * 34


class Hub:
    """What the server holds."""

    def __init__(self):
        self.files: dict[str, dict[str, bytes]] = {}
        self.commits: dict[str, str] = {}
        self.private: dict[str, bool] = {}
        self.silent = threading.Event()
        self.forbidden = threading.Event()
        self.missing = threading.Event()  # files are listed, and not there
        self.sizes: list[int] = []  # told in place of the sizes of files
        self.address = ""
        self.log: list[str] = []

    def commit(self, name, files):
        self.files[name] = {**self.files.get(name, {}), **files}
        self.commits[name] = hashlib.sha1(repr(sorted(self.files[name].items())).encode()).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Answers a request."""

    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        """Nothing on the terminal."""

    def answer(self, status, content=b"", headers=(), length=None):
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for key, value in dict(headers).items():
            self.send_header(key, value)
        self.send_header(
            "Content-Type", "application/octet-stream" if isinstance(content, bytes) else "application/json"
        )
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def handle_any(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = unquote(urlsplit(self.path).path)
        self.hub.log.append(f"{self.command} {path}")
        if self.hub.silent.is_set():
            time.sleep(3)
            return
        parts = path.strip("/").split("/")
        allowed = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        writes = self.command == "POST" and "/paths-info/" not in path
        if writes and not allowed:
            self.answer(401, {"error": "Invalid user token."})
        elif writes and self.hub.forbidden.is_set():
            self.answer(403, {"error": "You don't have the rights to write there"})
        elif path == "/api/validate-yaml":
            self.answer(200, {"errors": [], "warnings": []})
        elif path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            known = name in self.hub.files
            self.hub.private.setdefault(name, bool(asked.get("private")))
            self.hub.files.setdefault(name, {})
            self.hub.commits.setdefault(name, "0" * 40)
            self.answer(409 if known else 200, {"url": f"{self.hub.address}/{name}", "id": name})
        else:
            self.of_repository(path, parts, body)

    def of_repository(self, path, parts, body):
        name = "/".join(parts[2:4] if parts[0] == "api" else parts[:2]).removesuffix(".git")
        if name not in self.hub.files:
            self.answer(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
            return
        files, commit = self.hub.files[name], self.hub.commits[name]
        revision = next(
            (parts[i + 1] for i, p in enumerate(parts[:-1]) if p in ("revision", "resolve", "tree")), "main"
        )
        if revision not in ("main", commit):
            self.answer(404, {"error": "Invalid rev id"}, {"X-Error-Code": "RevisionNotFound"})
        elif "resolve" in parts:
            content = None if self.hub.missing.is_set() else files.get("/".join(parts[4:]))
            if content is None:
                self.answer(
                    404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit}
                )
            else:
                tag = hashlib.sha256(content).hexdigest()
                self.answer(200, content, {"ETag": f'"{tag}"', "X-Repo-Commit": commit})
        elif "preupload" in parts:
            asked = json.loads(body)["files"]
            # Large files go to another server, by a library of its own; here all go with the commit.
            modes = [{"path": each["path"], "uploadMode": "regular", "shouldIgnore": False} for each in asked]
            self.answer(200, {"files": modes})
        elif "commit" in parts:
            given = {}
            for line in body.splitlines():
                entry = json.loads(line)
                value = entry["value"]
                if entry["key"] == "file":
                    given[value["path"]] = base64.b64decode(value["content"])
            self.hub.commit(name, given)
            made = self.hub.commits[name]
            self.answer(
                200, {"commitUrl": f"{self.hub.address}/{name}/commit/{made}", "commitOid": made, "success": True}
            )
        elif "tree" in parts:
            tree = [
                {"type": "file", "path": n, "size": len(c), "oid": hashlib.sha1(c).hexdigest()}
                for n, c in files.items()
            ]
            self.answer(200, tree)
        else:
            listed = [{"rfilename": n, "size": len(c), "blobId": hashlib.sha1(c).hexdigest()} for n, c in files.items()]
            for each, size in zip(listed, self.hub.sizes, strict=False):
                each["size"] = size
            self.answer(
                200, {"id": name, "modelId": name, "sha": commit, "private": False, "tags": [], "siblings": listed}
            )

    do_GET = do_HEAD = do_POST = handle_any


@contextlib.contextmanager
def serving():
    """A hub on a free port of this machine, until the block ends."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Own", (Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
