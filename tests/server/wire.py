"""HTTP as an attacker speaks it: the target goes out byte for byte, where clients would tidy it first."""

import http.client
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from tests.server.servers import Server

ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"


@dataclass(frozen=True)
class Reply:
    """An answer's status and body."""

    status: int
    body: bytes

    @property
    def message(self) -> str:
        """MLflow's error message; empty where there is none."""
        try:
            return str(json.loads(self.body).get("message", ""))
        except ValueError:
            return ""


def send(server: Server, method: str, target: str, body: bytes = b"", **headers: str) -> Reply:
    """One request with exactly this target."""
    connection = http.client.HTTPConnection(urlparse(server.url).netloc, timeout=60)
    try:
        connection.putrequest(method, target, skip_accept_encoding=True)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders(body)
        answer = connection.getresponse()
        return Reply(answer.status, answer.read())
    finally:
        connection.close()


def send_json(server: Server, target: str, body: dict[str, Any]) -> Reply:
    """One POST of JSON."""
    return send(server, "POST", target, json.dumps(body).encode(), Content_Type="application/json")


def tree(folder: Path) -> dict[str, bytes]:
    """Every file of a folder with its bytes; links are followed."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
