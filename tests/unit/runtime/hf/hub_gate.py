"""The repository's stand-in for the hub, behind a login."""

import threading
from http import HTTPStatus
from pathlib import Path
from typing import Any

from hack.images.hub.server import Hub

MODEL = "microsoft/Phi-3-mini-4k-instruct"
TOKEN = "hf_a-token-that-no-log-shows"


class Gate:
    """The stand-in behind a login, which remembers what it was asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[str] = []
        #: Parts of files that were asked for.
        self.ranges: list[str] = []
        #: What everything is answered with, where that is not the model.
        self.refusal: str | None = None
        #: Bytes of the next file's body after which the connection ends.
        self.cut: int | None = None
        #: What the files wait for.
        self.opened = threading.Event()
        self.opened.set()
        self._closed = False
        self._hub = Hub(("127.0.0.1", 0), {MODEL: folder})
        self._hub.RequestHandlerClass = self._handler(self._hub.RequestHandlerClass)
        self.url = f"http://127.0.0.1:{self._hub.server_port}"
        self._thread = threading.Thread(target=self._hub.serve_forever, args=(0.01,))
        self._thread.start()

    def _handler(self, plain: Any) -> Any:
        gate = self

        class Handler(plain):  # type: ignore[misc]
            def parse_request(self) -> bool:
                if not super().parse_request():
                    return False
                gate.asked.append(self.path)
                if part := self.headers["Range"]:
                    gate.ranges.append(part)
                if gate.refusal is None and TOKEN in self.headers.get(
                    "Authorization", ""
                ):
                    return True
                self.send_response(HTTPStatus.UNAUTHORIZED)
                self.send_header("X-Error-Code", gate.refusal or "RepoNotFound")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return False

            def do_GET(self) -> None:  # noqa: N802 - the standard library's name
                if "/resolve/" in self.path:
                    gate.opened.wait(timeout=60)
                if gate.cut is None or "/resolve/" not in self.path:
                    super().do_GET()
                    return
                given, gate.cut = gate.cut, None
                answer = self._head()
                with answer.file.open("rb") as stream:
                    self.wfile.write(stream.read(given))
                self.close_connection = True

            def log_message(self, *args: object) -> None:
                """Tests need no access log."""

        return Handler

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self.opened.set()
        self._hub.shutdown()
        self._thread.join(timeout=10)
        self._hub.server_close()
