"""Text as a reader sees it: what of a description reads as the gate's words, however it is spelled. Pure."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable

# letters to Unicode and MLflow, nothing to a reader
FILLERS = "\u115f\u1160\u3164\uffa0"
# two Arabic signs stand for whole sentences, which would take their time
_SIMPLER = {**dict.fromkeys(map(ord, FILLERS)), 0xFDFA: "\u0635", 0xFDFB: "\u062c"}
# a browser unescapes once; more is for pages that pass a text through several hands
_UNESCAPES = 3
# Python refuses to read a number of thousands of digits
_NO_CHARACTER = re.compile(r"&#[0-9]{8,};?")
_PADDING = re.compile(r"&#0+(?=[0-9])")
_OVERRIDDEN = re.compile("\u202e([^\u202c\r\n]*)")
_LINE_END = re.compile(r"\r\n|\r|\n")

# each takes what is never closed, too: one that could fail at every "<" would take quadratic time
_UNSHOWN = re.compile(
    r"<!--(?:.*?-->|.*)|<(script|style|textarea|option|noscript)\b(?:.*?</\1\s*>|.*)", re.DOTALL | re.IGNORECASE
)
_TAG = re.compile(r"<[a-z/!?][^>]*>?", re.IGNORECASE)
_QUOTING_TAG = re.compile(r"<[a-z/!?](?:=\s*(?:\"[^\"]*\"|'[^']*')|[^>])*>?", re.IGNORECASE)
# an image, or where a link leads to; and the definition of such a place
_PLACE = re.compile(r"(?:!\[[^\[\]]*)?\](?:\((?:[^()]|\([^()]*\))*\)|\s?\[[^\[\]]*\])")
_DEFINITION = re.compile(r"^[^\S\n]*\[[^\[\]\n]*\]:\s*\S+\s*", re.MULTILINE)

# of 18 letters, and no sign stands for more than four
_SHORTEST = 5


def _mark(letters: str) -> str:
    return r"\.?".join(letters)


_TITLE = re.compile(_mark("ppopolicy"))
_NAME = re.compile(_mark("mlflowppo"))
_AUTHOR = re.compile(rf"(?:\A|\.){_mark('writtenbymlflowppo')}")
_END = re.compile(rf"(?:\A|\.){_mark('endofwhatmlflowppowrote')}")


def without_forgeries(text: str) -> str:
    """A text without what reads as the gate's block: from a paragraph that reads as its first line to its last one.

    Where only the text as a whole reads as one, by markup that reaches over blank lines, it ends before the markup.
    """
    pieces = _pieces(text)
    kept, inside = [], False
    for paragraph, gap in zip(pieces[::2], [*pieces[1::2], ""], strict=True):
        seen = _sights(paragraph)
        ends = any(map(_END.search, seen))
        inside = inside or any(map(_opens, seen))
        kept += [] if inside or ends else [paragraph, gap]
        inside = inside and not ends
    rest = "".join(kept)
    return _until_markup(rest) if _opens_as_a_whole(rest) else rest


def _pieces(text: str) -> list[str]:
    """Paragraphs and the blank lines between them, in turn."""
    pieces, start = [], 0
    for blank in re.finditer(r"\s+", text):
        if len(_LINE_END.findall(blank[0])) > 1:
            pieces += [text[start : blank.start()], blank[0]]
            start = blank.end()
    return [*pieces, text[start:]]


def _opens(seen: str) -> bool:
    """Whether a paragraph as seen names the policy and then, set apart from a sentence, the author; or opens so."""
    title = _TITLE.search(seen)
    return _AUTHOR.match(seen) is not None or (title is not None and _AUTHOR.search(seen, title.end()) is not None)


def _opens_as_a_whole(text: str) -> bool:
    whole = [strip(text) for strip in _STRIPPERS if "<" in text or "]:" in text]
    suspect = (each for each in whole if _NAME.search(_letters(each)))
    return any(_opens(_letters(each)) for stripped in suspect for each in _pieces(stripped)[::2])


def _until_markup(text: str) -> str:
    markup = re.search(r"[<\[]", text)
    return text[: markup.start()] if markup else ""


def _sights(text: str) -> set[str]:
    """What may be seen of a text: with its markup, as in code, and without it, wherever that may end."""
    if len(text) < _SHORTEST:
        return set()
    plain = {text} if "<" not in text and "]" not in text else {text, *(strip(text) for strip in _STRIPPERS)}
    return {_letters(each) for each in plain}


def _letters(text: str) -> str:
    """The letters of a text, in small, without what adorns them; any other signs between letters are one dot."""
    text = _unescaped(text)
    if not text.isascii():
        shown = _OVERRIDDEN.sub(lambda found: found[1][::-1], text.translate(_SIMPLER))
        text = unicodedata.normalize("NFKD", shown)
    return re.sub(r"[\W\d_]+", ".", re.sub(r"\s+", "", text.casefold()))


def _unescaped(text: str) -> str:
    for _ in range(_UNESCAPES):
        if "&" not in text or (less := html.unescape(_NO_CHARACTER.sub("", _PADDING.sub("&#", text)))) == text:
            break
        text = less
    return text


def _stripper(*markups: re.Pattern[str]) -> Callable[[str], str]:
    def strip(text: str) -> str:
        for markup in markups:
            text = markup.sub(lambda found: "|" if found[0].endswith(">") else found[0], text)
        return _PLACE.sub("]", _DEFINITION.sub(" ", text))

    return strip


# readers of HTML differ on where a tag and a comment end
_STRIPPERS = (_stripper(_UNSHOWN, _TAG), _stripper(_UNSHOWN, _QUOTING_TAG), _stripper(_TAG))
