"""What went wrong with a request to the broker: one value, told from the answer's status and message, or its lack."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """Every way in which a request fails that the trader tells apart."""

    UNREACHABLE = "unreachable"
    UNREADABLE = "unreadable"
    SERVER = "server"
    RATE_LIMIT = "rate_limit"
    UNAUTHORISED = "unauthorised"
    BLOCKED = "blocked"
    DUPLICATE = "duplicate"
    BUYING_POWER = "buying_power"
    QUANTITY = "quantity"
    TOO_SMALL = "too_small"
    WASH_TRADE = "wash_trade"
    SHORT = "short"
    SYMBOL = "symbol"
    FRACTIONAL = "fractional"
    OVER = "over"
    NOT_FOUND = "not_found"
    REFUSED = "refused"


AMBIGUOUS = frozenset({Kind.UNREACHABLE, Kind.UNREADABLE, Kind.SERVER})
"""Nothing is known of what the request did: an order may stand or not."""
PASSING = AMBIGUOUS | {Kind.RATE_LIMIT}
"""The same request may succeed a little later."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One failed request: what was asked (`POST /v2/orders`), the answer's status and code (None without), its
    message.
    """

    kind: Kind
    asked: str
    status: int | None
    code: int | None
    message: str

    @property
    def is_ambiguous(self) -> bool:
        """Whether the request may have taken effect all the same."""
        return self.kind in AMBIGUOUS

    @property
    def is_passing(self) -> bool:
        """Whether it is worth asking again."""
        return self.kind in PASSING

    @property
    def text(self) -> str:
        """Where, what was found, and what it means, in one line."""
        answer = "no answer" if self.status is None else f"status {self.status}"
        code = "" if self.code is None else f", code {self.code}"
        return f"broker: {self.asked}: {self.kind}: {answer}{code}: {self.message or 'no message'}"


# Code 40310000 stands for many refusals: the message decides, and only within the statuses that it comes with.
_BY_MESSAGE: tuple[tuple[frozenset[int], re.Pattern[str], Kind], ...] = tuple(
    (frozenset(statuses), re.compile(pattern, re.IGNORECASE), kind)
    for statuses, pattern, kind in (
        ((403, 422), r"client_order_id must be unique", Kind.DUPLICATE),
        ((403,), r"insufficient buying power", Kind.BUYING_POWER),
        ((403,), r"insufficient (qty|balance)", Kind.QUANTITY),
        ((403, 422), r"cost basis must be >=|minimal amount", Kind.TOO_SMALL),
        ((403, 422), r"wash trade", Kind.WASH_TRADE),
        ((403, 422), r"sold short|short sale|shortable|not allowed to short", Kind.SHORT),
        ((422,), r"fractional", Kind.FRACTIONAL),
        ((403, 404, 422), r"asset .*(not found|is not (active|tradable|fractionable))", Kind.SYMBOL),
        ((422,), r"order is (already in|not cancelable)", Kind.OVER),
        (
            (403,),
            r"new orders are rejected|account is (restricted|blocked|not authorized)|trading.*blocked",
            Kind.BLOCKED,
        ),
    )
)
_MESSAGE_LENGTH = 300


def read_answer(asked: str, status: int, body: str) -> Problem:
    """The problem of an answer with an error status, whatever its body holds: Alpaca's JSON, a proxy's HTML, or
    nothing.
    """
    data = _json(body)
    code, message = data.get("code"), data.get("message")
    told = message if isinstance(message, str) else _shortened(body)
    number = code if isinstance(code, int) and not isinstance(code, bool) else None
    return Problem(_kind_of(status, number, told), asked, status, number, _shortened(told))


def _kind_of(status: int, code: int | None, message: str) -> Kind:
    if status == 429:
        return Kind.RATE_LIMIT
    if status >= 500 or status < 400:
        return Kind.SERVER
    for statuses, pattern, kind in _BY_MESSAGE:
        if status in statuses and pattern.search(message):
            return kind
    if status == 401 or (status == 403 and code is None):
        return Kind.UNAUTHORISED
    return Kind.NOT_FOUND if status == 404 else Kind.REFUSED


def _json(body: str) -> Mapping[str, object]:
    try:
        data = json.loads(body)
    except ValueError:
        return {}
    return data if isinstance(data, Mapping) else {}


def _shortened(text: str) -> str:
    """One line of a message: a proxy's error page can be long."""
    line = " ".join(text.split())
    return line if len(line) <= _MESSAGE_LENGTH else line[: _MESSAGE_LENGTH - 3] + "..."
