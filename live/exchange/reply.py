"""Answers of the HTTP server: a value as JSON, a refusal with its status."""

from __future__ import annotations

from typing import Any

from fastapi import Response
from fastapi.responses import JSONResponse

from live.exchange import wire
from live.exchange.refusal import Refusal


def reply(value: Any, status: int = 200) -> Response:
    """JSON with `status`, or a refusal with its own."""
    if isinstance(value, Refusal):
        return JSONResponse(wire.refusal_json(value), status_code=value.status)
    return JSONResponse(value, status_code=status)
