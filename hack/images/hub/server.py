"""A stand-in for a hub of models: its HTTP interface over folders of this machine.

    python3 server.py --port 8080 tiiuae/falcon-7b=/models/falcon …

It is for clusters that reach no real hub. What clients of the Hugging Face hub ask
for before and during a download is answered as there: what a model consists of, a
listing of its files, the files themselves, in parts where wanted. It has one
version of each model, which is found under any revision, so that a pinned commit
is served too. Nothing can be written, and nothing asks for a token.

With ``--slow ID=BYTES`` the files of a model come at so many bytes a second, as the
large ones do that it stands in for.
"""

import argparse
import hashlib
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

_PIECE = 1 << 20

_INFO = re.compile(
    r"/api/models/(?P<model>[^/]+/[^/]+)(/revision/(?P<revision>[^/]+))?"
)
_TREE = re.compile(
    r"/api/models/(?P<model>[^/]+/[^/]+)/tree/(?P<revision>[^/]+)(/(?P<file>.*))?"
)
_FILE = re.compile(
    r"/(?P<model>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>[^/].*)"
)


@dataclass(frozen=True)
class Answer:
    """A response; its body is either given or a part of a file."""

    status: HTTPStatus
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    file: Path | None = None
    part: range = range(0)
    #: Whose file it is, in lower case.
    model: str = ""


class NotThereError(Exception):
    """What was asked for is not there; ``code`` is the word that clients know."""

    def __init__(self, status: HTTPStatus, code: str, message: str) -> None:
        self.status = status
        self.code = code
        super().__init__(message)


def answer(models: Mapping[str, Path], target: str, wanted: str = "") -> Answer:
    """Answer a GET or HEAD of a path.

    Args:
        models: A folder by the model's id.
        target: The path, which may have a query.
        wanted: The request's header Range, empty if there is none.
    """
    path = unquote(urlsplit(target).path)
    try:
        if found := _TREE.fullmatch(path):
            folder = _folder(models, found["model"])
            return _json(_listing(folder) if not found["file"] else [])
        if found := _INFO.fullmatch(path):
            folder = _folder(models, found["model"])
            return _json(_info(found["model"], folder, found["revision"] or "main"))
        if found := _FILE.fullmatch(path):
            folder = _folder(models, found["model"])
            given = _file(folder, found["file"], found["revision"], wanted)
            return replace(given, model=found["model"].lower())
    except NotThereError as error:
        headers = {"X-Error-Code": error.code, "X-Error-Message": str(error)}
        return Answer(error.status, headers, f"{error}\n".encode())
    return Answer(HTTPStatus.NOT_FOUND, body=b"no such page\n")


def _folder(models: Mapping[str, Path], model: str) -> Path:
    by_name = {name.lower(): folder for name, folder in models.items()}
    if folder := by_name.get(model.lower()):
        return folder
    # As a hub does that will not say whether a model exists.
    raise NotThereError(HTTPStatus.UNAUTHORIZED, "RepoNotFound", "Repository not found")


def _info(model: str, folder: Path, revision: str) -> dict[str, Any]:
    return {
        "id": model,
        "modelId": model,
        "sha": commit(folder, revision),
        "private": False,
        "gated": False,
        "disabled": False,
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["transformers", "safetensors"],
        "siblings": [
            {"rfilename": file["path"], "size": file["size"]}
            for file in _listing(folder)
        ],
    }


def _listing(folder: Path) -> list[dict[str, Any]]:
    return [
        {
            "type": "file",
            "path": path.name,
            "size": path.stat().st_size,
            "oid": digest(path),
        }
        for path in sorted(folder.iterdir())
    ]


def _file(folder: Path, name: str, revision: str, wanted: str) -> Answer:
    path = folder / name
    # Models are flat, so that a name with a slash is of no file, or of none here.
    if path.parent != folder or not path.is_file():
        raise NotThereError(HTTPStatus.NOT_FOUND, "EntryNotFound", "Entry not found")
    size = path.stat().st_size
    headers = {
        "Accept-Ranges": "bytes",
        "Content-Type": "application/octet-stream",
        "ETag": f'"{digest(path)}"',
        "X-Repo-Commit": commit(folder, revision),
    }
    if not (part := re.fullmatch(r"bytes=(\d+)-(\d*)", wanted)):
        return Answer(HTTPStatus.OK, headers, file=path, part=range(size))
    first, last = int(part[1]), min(int(part[2] or size), size - 1)
    if first > last:
        headers["Content-Range"] = f"bytes */{size}"
        return Answer(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, headers)
    headers["Content-Range"] = f"bytes {first}-{last}/{size}"
    chosen = range(first, last + 1)
    return Answer(HTTPStatus.PARTIAL_CONTENT, headers, file=path, part=chosen)


def commit(folder: Path, revision: str) -> str:
    """Return the commit that a revision names: itself, if it is one."""
    if re.fullmatch(r"[0-9a-f]{40}", revision):
        return revision
    digests = "".join(digest(path) for path in sorted(folder.iterdir()))
    return hashlib.sha256(digests.encode()).hexdigest()[:40]


@cache
def digest(path: Path) -> str:
    """Return the SHA-256 of a file, which does not change while this runs."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _json(content: Any) -> Answer:
    headers = {"Content-Type": "application/json"}
    return Answer(HTTPStatus.OK, headers, json.dumps(content).encode())


class Hub(ThreadingHTTPServer):
    """The server of some models.

    Args:
        address: Where it listens.
        models: A folder by the model's id.
        slow: Bytes per second by the model's id; others come as fast as they can.
    """

    def __init__(
        self,
        address: tuple[str, int],
        models: Mapping[str, Path],
        slow: Mapping[str, int] | None = None,
    ) -> None:
        self.models = models
        self.slow = {model.lower(): rate for model, rate in (slow or {}).items()}
        super().__init__(address, _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        given = self._head()
        if given.file is None:
            self.wfile.write(given.body)
            return
        rate = self.server.slow.get(given.model)
        # A slow one comes in so many pieces a second.
        most = max(1, rate // 10) if rate else _PIECE
        with given.file.open("rb") as stream:
            stream.seek(given.part.start)
            left = len(given.part)
            while left and (piece := stream.read(min(left, most))):
                if rate:
                    time.sleep(len(piece) / rate)
                self.wfile.write(piece)
                left -= len(piece)

    def do_HEAD(self) -> None:
        self._head()

    def _head(self) -> Answer:
        wanted = self.headers.get("Range", "")
        given = answer(self.server.models, self.path, wanted)
        length = len(given.part) if given.file else len(given.body)
        self.send_response(given.status)
        for name, value in given.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        return given


def main() -> None:
    """Serve the models that the command line names until the process is ended."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--slow", action="append", default=[], metavar="ID=BYTES")
    parser.add_argument("models", nargs="+", metavar="ID=FOLDER")
    arguments = parser.parse_args()
    pairs = (item.partition("=") for item in arguments.models)
    models = {model: Path(folder) for model, _, folder in pairs}
    rates = (item.partition("=") for item in arguments.slow)
    slow = {model: int(rate) for model, _, rate in rates}
    with Hub(("", arguments.port), models, slow) as hub:
        hub.serve_forever()


if __name__ == "__main__":
    main()
