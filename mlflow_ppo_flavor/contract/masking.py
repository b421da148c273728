"""Masking: the passwords of URIs taken out of texts that others wrote, before anybody is shown them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import unquote

MASK = "***"
# A port and a path behind it aren't a password; one may hold @ where no / follows, or / where no @ does.
_USERINFO = re.compile(r"(://[^\s:/@?#'\"]*:)(?!\d{1,5}[/?#])(?:[^\s/'\"]*@|[^\s@]*@)")
_TOKEN = re.compile(r"(https?://)[^\s:/@?#'\"]+@")
_OPTION = re.compile(r"([?&](?:password|passwd|pwd|sslpassword)=)[^\s&;'\"]+", re.IGNORECASE)
_PASSWORD = re.compile(
    r"://[^\s:/@?#]*:(?!\d{1,5}[/?#])(\S+)@|[?&](?:password|passwd|pwd|sslpassword)=([^\s&]+)", re.IGNORECASE
)


def passwords(uris: Iterable[str]) -> tuple[str, ...]:
    """The passwords in these URIs, as they are written there and decoded; texts without one are passed over."""
    found = (match[1] or match[2] for uri in uris for match in _PASSWORD.finditer(uri))
    return tuple(dict.fromkeys(each for password in found for each in (password, unquote(password))))


def masked(text: str, secrets: Iterable[str] = ()) -> str:
    """The text with `***` for the password of every URI in it, and for each of these secrets that stands alone."""
    text = _OPTION.sub(rf"\1{MASK}", _TOKEN.sub(rf"\1{MASK}@", _USERINFO.sub(rf"\1{MASK}@", text)))
    for secret in sorted(set(secrets) - {"", MASK}, key=len, reverse=True):
        # not within a name or path: a password may be a word, such as mlflow
        text = re.sub(rf"(?<![\w./-]){re.escape(secret)}(?![\w/-]|\.\w)", MASK, text)
    return text
