"""Typed readers for `from_dict`: each error carries the dotted path of the value that it refuses.

The manner is that of pypa/packaging's `direct_url`: a mapping is read field by field, once, at the edge.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import Any, TypeVar

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from mlflow_ppo_flavor.errors import SpecError

T = TypeVar("T")
LONGEST_VERSION = 100
MOST_PACKAGES = 20
LONGEST_ERROR = 300
# fromisoformat takes any character between date and time
_TIME = re.compile(r"[0-9A-Z:.,+ -]{1,64}")
_MISSING: Any = object()


def show(value: object) -> str:
    """A value as a message shows it: its repr, cut to 80 characters; its type where Python can't write it out."""
    try:
        text = "nothing" if value is _MISSING else repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits, a value that holds itself
        text = f"a value of type {type(value).__name__} that can't be shown"
    return _cut(text)


def show_key(key: object) -> str:
    """A key as a dotted path shows it: bare, cut to 80 characters; its repr where it is no text that can be printed."""
    return _cut(key) if isinstance(key, str) and key.isprintable() else show(key)


def _cut(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "..."


def told(error: BaseException) -> str:
    """A stranger's error as a message shows it: `ValueError: what it says`, in one line of 300 characters at most."""
    line = " ".join(f"{type(error).__name__}: {error}".split())
    return line if len(line) <= LONGEST_ERROR else line[: LONGEST_ERROR - 3] + "..."


def join(path: str, key: str) -> str:
    """The dotted path of `key` below `path` (`""` is the root)."""
    return f"{path}.{key}" if path else key


def mapping(value: object, path: str, known: Collection[str], *, where: str = "") -> Mapping[str, Any]:
    """A mapping whose keys are all known; an unknown key could change what the value means, so it is refused."""
    if not isinstance(value, Mapping):
        raise SpecError(path or where or "value", show(value), "a mapping")
    for key in value:
        if key not in known:
            raise SpecError(
                join(path, show_key(key)), "an unknown key", f"one of {', '.join(known)}" if known else "no key"
            )
    return value


def take(
    data: Mapping[str, Any],
    key: str,
    path: str,
    read: Callable[..., T],
    default: Any = _MISSING,
    **options: Any,
) -> T:
    """`data[key]` through the reader `read`; a missing key gives `default`, or SpecError without one."""
    value = data.get(key, _MISSING)
    if value is _MISSING and default is not _MISSING:
        return default  # type: ignore[no-any-return]
    return read(value, join(path, key), **options)


def text(value: object, path: str, *, empty: bool = True) -> str:
    """A string, not empty unless `empty`."""
    if not isinstance(value, str) or not (empty or value):
        raise SpecError(path, show(value), "a string" if empty else "a string that isn't empty")
    if not _encodable(value):
        raise SpecError(path, show(value), "text that UTF-8 can write")
    return value


def _encodable(value: str) -> bool:
    """Whether UTF-8 can write it: JSON's escapes can spell half a character (a lone surrogate), which it can't."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def name(value: object, path: str, *, pattern: re.Pattern[str], expected: str) -> str:
    """A string that the pattern matches whole."""
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise SpecError(path, show(value), expected)
    return value


def json_text(value: object, path: str, *, expected: str) -> Any:
    """What a text of JSON says."""
    read = text(value, path)
    try:
        return json.loads(read)
    except (ValueError, RecursionError) as error:
        raise SpecError(path, f"no JSON ({error})", expected) from None


def line(value: object, path: str, *, longest: int) -> str:
    """A string of one line that says something, of at most `longest` characters."""
    found = text(value, path)
    if len(found) > longest:
        raise SpecError(path, f"{len(found)} characters", f"at most {longest}")
    if not found.strip() or not found.isprintable():
        raise SpecError(path, show(value), "one line of text")
    return found


def time(value: object, path: str) -> str:
    """A time with its zone (ISO 8601), as written."""
    expected = "a time with its zone, such as 2026-01-31T14:30:00+00:00 (ISO 8601)"
    try:
        parsed = datetime.fromisoformat(value) if isinstance(value, str) and _TIME.fullmatch(value) else None
    except ValueError:
        parsed = None
    if parsed is None or parsed.tzinfo is None:
        raise SpecError(path, show(value), expected)
    return str(value)


def choice(value: object, path: str, *, of: Collection[Any]) -> Any:
    """One of a closed set of strings or integers; a bool is no integer here."""
    if isinstance(value, bool) or not isinstance(value, str | int) or value not in of:
        raise SpecError(path, show(value), f"one of {', '.join(map(str, of))}")
    return value


def integer(value: object, path: str, *, low: int, high: int) -> int:
    """A whole number in [low, high]; a bool is no integer here."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise SpecError(path, show(value), f"a whole number in [{low}, {high}]")
    return value


def number(value: object, path: str, *, low: float, high: float) -> float:
    """A finite number in [low, high], as a float."""
    found = _finite(value)
    if found is None or not low <= found <= high:
        raise SpecError(path, show(value), f"a number in [{low:g}, {high:g}]")
    return found + 0.0


def _finite(value: object) -> float | None:
    """A number as a finite float; None for anything else, and for an integer beyond all floats."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def flag(value: object, path: str) -> bool:
    """True or False."""
    if not isinstance(value, bool):
        raise SpecError(path, show(value), "true or false")
    return value


def sequence(value: object, path: str, read: Callable[..., T], **options: Any) -> tuple[T, ...]:
    """A list or tuple, each member through `read`."""
    if not isinstance(value, list | tuple):
        raise SpecError(path, show(value), "a list")
    return tuple(read(member, f"{path}[{i}]", **options) for i, member in enumerate(value))


def texts(value: object, path: str, names: Collection[str], **choices: Collection[str]) -> dict[str, Any]:
    """A mapping of exactly these names to strings; a name in `choices` has one of those."""
    read = mapping(value, path, names)
    return {
        name: take(read, name, path, choice, of=choices[name]) if name in choices else take(read, name, path, text)
        for name in names
    }


def version(value: object, path: str) -> str:
    """A PEP 440 version of at most 100 characters, as written."""
    expected = "a version such as 2.7.0 (PEP 440)"
    if not isinstance(value, str):
        raise SpecError(path, show(value), expected)
    _check_length(value, path, expected)
    try:
        Version(value)
    except ValueError:  # InvalidVersion, and what Python's integers refuse
        raise SpecError(path, show(value), expected) from None
    # PEP 440 lets blanks and line ends stand around a version: as a name it would be another one
    if value != value.strip():
        raise SpecError(path, show(value), f"{expected}, without blanks around it")
    return value


def specifiers(value: object, path: str) -> str:
    """A PEP 440 specifier set that isn't empty, of at most 100 characters, as written."""
    expected = "a specifier set such as >=2.7.0 (PEP 440)"
    if not isinstance(value, str) or not value.strip():
        raise SpecError(path, show(value), expected)
    _check_length(value, path, expected)
    try:
        read = SpecifierSet(value)
        # its versions are read when they are first compared
        read.contains("0")
    except ValueError:  # InvalidSpecifier, InvalidVersion, and what Python's integers refuse
        raise SpecError(path, show(value), expected) from None
    if not len(read):
        raise SpecError(path, show(value), expected)
    return value


def trader_requirement(value: object, path: str) -> str:
    """What a model requires of a trader, as written: a specifier set of trader versions, then own packages after `;`.

    `>=2.7.0; acme-features>=1.2,<2`: each package once, a PEP 508 name with a PEP 440 specifier set or none.
    """
    if not isinstance(value, str):
        return specifiers(value, path)
    if not value.isprintable():
        raise SpecError(path, show(value), "one line of text, such as >=2.7.0; acme-features>=1.2")
    first, *packages = value.split(";")
    specifiers(first, path)
    if len(packages) > MOST_PACKAGES:
        raise SpecError(path, f"{len(packages)} packages", f"at most {MOST_PACKAGES}")
    unique(tuple(canonicalize_name(_package(each, path).name) for each in packages), path)
    return value


def _package(value: str, path: str) -> Requirement:
    """One package's requirement without extras, URL or marker."""
    expected = "a package such as acme-features>=1.2 (PEP 508) after each ;"
    _check_length(value, path, expected)
    try:
        read = Requirement(value)
        read.specifier.contains("0")
    except ValueError:  # InvalidRequirement, InvalidVersion, and what Python's integers refuse
        raise SpecError(path, show(value), expected) from None
    if read.extras or read.url:
        raise SpecError(path, show(value), f"{expected}, without extras or URL")
    return read


def _check_length(value: str, path: str, expected: str) -> None:
    if len(value) > LONGEST_VERSION:
        raise SpecError(path, f"{len(value)} characters", f"{expected} of at most {LONGEST_VERSION}")


def unique(values: tuple[T, ...], path: str) -> tuple[T, ...]:
    """The values, refused if one stands twice."""
    seen = set()
    for i, value in enumerate(values):
        if value in seen:
            raise SpecError(f"{path}[{i}]", f"{value} a second time", "each once")
        seen.add(value)
    return values
