"""A server on loopback that answers as TF Hub does, and as servers do on bad days.

    with serving() as hub:
        hub.archives["/google/nnlm-en-dim50/2"] = pack(directory)
        hub.moods["/google/nnlm-en-dim50/2"] = "cut"
        ... hub.url ...; hub.asked

Without `tf-hub-format=compressed` in the query it shows a web page, as TF Hub does. Moods:

    forbidden    403
    cut          the whole length is declared, half of it sent
    broken       500, always
    recovering   500 the first time
    half         half the body, then nothing more until `release` is set: a slow server
"""

from __future__ import annotations

import contextlib
import io
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

LIFETIME_S = 30.0


@dataclass
class HubServer:
    """What the server has, and what it saw.

    Attributes:
        url: its address.
        archives: path -> the archive's bytes; any other path is a 404.
        moods: path -> how it is answered, where not well.
        asked: each request's path and query, in order.
        credentials: each request's Authorization header, in order.
        half_sent: set when a "half" answer has come to its pause.
        release: lets "half" answers end.
    """

    url: str = ""
    archives: dict[str, bytes] = field(default_factory=dict)
    moods: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    credentials: list[str | None] = field(default_factory=list)
    half_sent: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)


@contextlib.contextmanager
def serving() -> Iterator[HubServer]:
    """Answer requests until the block ends."""
    hub = HubServer()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield hub
    finally:
        hub.release.set()
        server.shutdown()
        server.server_close()


def _handler(hub: HubServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = LIFETIME_S

        def do_GET(self) -> None:
            hub.asked.append(self.path)
            hub.credentials.append(self.headers.get("Authorization"))
            path, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
            mood = hub.moods.get(path)
            if mood == "broken" or (mood == "recovering" and len(hub.asked) == 1):
                self.send_error(500)
            elif mood == "forbidden":
                self.send_error(403)
            elif path not in hub.archives:
                self.send_error(404)
            elif query.get("tf-hub-format") == ["compressed"] or path.endswith("/download"):
                self._send(hub.archives[path], mood)
            else:
                self._send(b"<html>a page about the encoder</html>", None)

        def _send(self, body: bytes, mood: str | None) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            half = len(body) // 2
            self.wfile.write(body[:half])
            if mood == "cut":
                return
            if mood == "half":
                self.wfile.flush()
                hub.half_sent.set()
                hub.release.wait(LIFETIME_S)
            with contextlib.suppress(ConnectionError):  # the client was killed
                self.wfile.write(body[half:])

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


def write_model(directory: Path, content: str = "an encoder") -> Path:
    """Write files that look like a SavedModel to everything but TensorFlow."""
    files = {
        "saved_model.pb": content,
        "variables/variables.index": "index",
        "variables/variables.data-00000-of-00001": f"weights of {content}" * 1000,
        "assets/vocab.txt": "a\nb\n",
    }
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return directory


def write_pair(directory: Path, content: str = "an encoder") -> Path:
    """Write what looks like a transformer's pair of SavedModels."""
    write_model(directory / "preprocess", f"preprocess of {content}")
    write_model(directory / "encoder", content)
    return directory


def pack(directory: Path, compression: str = "gz", root: str = ".") -> bytes:
    """Return a directory as a tar archive whose members lie in `root`."""
    buffer = io.BytesIO()
    mode: Any = f"w:{compression}"  # typeshed knows only literals
    with tarfile.open(fileobj=buffer, mode=mode) as tar:
        tar.add(directory, arcname=root)
    return buffer.getvalue()


def pack_members(*members: tarfile.TarInfo | tuple[str, bytes]) -> bytes:
    """Return an uncompressed tar with just these members, however hostile."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                tar.addfile(info, io.BytesIO(member[1]))
    return buffer.getvalue()


def leftovers(cache: Path) -> list[Path]:
    """Return what a download that failed should have taken away."""
    return [*cache.rglob("*.partial"), *cache.rglob(".writing-*")]
