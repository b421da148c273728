"""A faulty line to the simulated exchange: a proxy that loses requests and answers as it is told."""

from __future__ import annotations

import http.client
import json
import struct
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import SO_LINGER, SOL_SOCKET
from urllib.parse import urlsplit

JSON, HTML = "application/json", "text/html"
_RESET = struct.pack("ii", 1, 0)


class Fault(Enum):
    """What happens to one request. The first four reach the exchange."""

    NONE = "answered as it should be"
    CUT = "taken, then the connection is reset"
    GATEWAY = "taken, then a 504"
    GARBAGE = "taken, then a page of HTML with status 200"
    LOST = "reset before it arrives"
    HTML = "a proxy's 502 in HTML"
    STRAY = "a proxy's 404 in HTML"
    LIMIT = "a 429"
    HIDDEN = "the venue says that there is no such order"
    MUTE = "taken, then no answer for longer than anybody waits"


RESETTING = frozenset({Fault.CUT, Fault.LOST, Fault.MUTE})
REACHING = frozenset({Fault.NONE, Fault.CUT, Fault.GATEWAY, Fault.GARBAGE, Fault.MUTE})
ANSWERS = {
    Fault.GATEWAY: (504, HTML, "<html>504 Gateway Time-out</html>"),
    Fault.GARBAGE: (200, HTML, "<html>hello</html>"),
    Fault.HTML: (502, HTML, "<html>502 Bad Gateway</html>"),
    Fault.STRAY: (404, HTML, "<html>404 Not Found</html>"),
    Fault.LIMIT: (429, JSON, json.dumps({"code": 42910000, "message": "rate limit exceeded"})),
    Fault.HIDDEN: (404, JSON, json.dumps({"code": 40410000, "message": "order not found"})),
}
KINDS = {"POST": "posts", "GET": "looks", "DELETE": "cancels"}


@dataclass
class Line:
    """The faults still to come for orders that are sent, looked up and cancelled; what else is asked passes through.

    `mute` is how many seconds a MUTE takes; `asked` counts the requests by kind.
    """

    url: str = ""
    mute: float = 0.5
    posts: deque[Fault] = field(default_factory=deque)
    looks: deque[Fault] = field(default_factory=deque)
    cancels: deque[Fault] = field(default_factory=deque)
    asked: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS.values(), 0))

    def next(self, method: str, path: str) -> Fault:
        """The fault of a request."""
        if not path.startswith("/v2/orders"):
            return Fault.NONE
        self.asked[KINDS[method]] += 1
        faults: deque[Fault] = getattr(self, KINDS[method])
        return faults.popleft() if faults else Fault.NONE

    def heal(self) -> None:
        """No more faults."""
        for kind in KINDS.values():
            getattr(self, kind).clear()


@contextmanager
def faulty_line(venue_url: str, *, mute: float = 0.5) -> Iterator[Line]:
    """The proxy before a venue, from enter to exit."""
    line, host = Line(mute=mute), urlsplit(venue_url).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def _pass(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            fault = line.next(self.command, self.path)
            told = self._forward(body) if fault in REACHING else (0, "", "")
            time.sleep(line.mute if fault is Fault.MUTE else 0)
            if fault in RESETTING:
                self._reset()
            else:
                self._answer(*ANSWERS.get(fault, told))

        do_GET = do_POST = do_DELETE = _pass  # noqa: N815 -- the library's names

        def _forward(self, body: bytes) -> tuple[int, str, str]:
            with closing(http.client.HTTPConnection(host, timeout=10)) as connection:
                connection.request(self.command, self.path, body, {**self.headers, "Connection": "close"})
                answer = connection.getresponse()
                return answer.status, answer.headers.get("Content-Type", JSON), answer.read().decode()

        def _answer(self, status: int, kind: str, text: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def _reset(self) -> None:
            self.connection.setsockopt(SOL_SOCKET, SO_LINGER, _RESET)
            self.connection.close()
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def finish(self) -> None:
            """End quietly where the connection is gone."""
            try:
                super().finish()
            except (OSError, ValueError):
                return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    line.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield line
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
