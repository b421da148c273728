"""A small server on loopback that answers as a script says: also wrongly, late, or not at all."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Answer:
    """One answer: after `delay` seconds a status with a body; status 0 closes the connection without a word."""

    status: int = 200
    body: str = ""
    delay: float = 0.0
    kind: str = "application/json"


@dataclass
class Script:
    """The answers still to give, the last one again and again; `asked` holds (method, path, headers, body) of each
    request.
    """

    answers: list[Answer]
    url: str = ""
    asked: list[tuple[str, str, dict[str, str], str]] = field(default_factory=list)

    def next(self) -> Answer:
        """The answer of this request."""
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@contextmanager
def scripted(*answers: Answer) -> Iterator[Script]:
    """The server, from enter to exit."""
    script = Script(list(answers))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            script.asked.append((self.command, self.path, dict(self.headers), body))
            answer = script.next()
            time.sleep(answer.delay)
            if answer.status == 0:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
                self.connection.close()
                self.close_connection = True
                return
            data = answer.body.encode()
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_DELETE = _answer  # noqa: N815 -- the library's names

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
    server.handle_error = lambda *_: None
    script.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield script
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def paths(script: Script) -> Sequence[str]:
    """Method and path of every request, without the query."""
    return [f"{method} {path.partition('?')[0]}" for method, path, _, _ in script.asked]
