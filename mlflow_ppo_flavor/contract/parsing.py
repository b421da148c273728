"""Typed readers for `from_dict`: each error carries the dotted path of the value that it refuses.

The manner is that of pypa/packaging's `direct_url`: a mapping is read field by field, once, at the edge.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from mlflow_ppo_flavor.errors import SpecError

T = TypeVar("T")
_MISSING: Any = object()


def show(value: object) -> str:
    """A value as a message shows it: its repr, cut to 80 characters."""
    text = "nothing" if value is _MISSING else repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def join(path: str, key: str) -> str:
    """The dotted path of `key` below `path` (`""` is the root)."""
    return f"{path}.{key}" if path else key


def mapping(value: object, path: str, known: Collection[str], *, where: str = "") -> Mapping[str, Any]:
    """A mapping whose keys are all known; an unknown key could change what the value means, so it is refused."""
    if not isinstance(value, Mapping):
        raise SpecError(path or where or "value", show(value), "a mapping")
    for key in value:
        if key not in known:
            raise SpecError(join(path, str(key)), "an unknown key", f"one of {', '.join(known)}")
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
    return value


def name(value: object, path: str, *, pattern: re.Pattern[str], expected: str) -> str:
    """A string that the pattern matches whole."""
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise SpecError(path, show(value), expected)
    return value


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
    whole = isinstance(value, int | float) and not isinstance(value, bool)
    if not whole or not math.isfinite(value) or not low <= value <= high:  # type: ignore[arg-type,operator]
        raise SpecError(path, show(value), f"a number in [{low:g}, {high:g}]")
    return float(value) + 0.0  # type: ignore[arg-type]


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


def version(value: object, path: str) -> str:
    """A PEP 440 version, as written."""
    if not isinstance(value, str):
        raise SpecError(path, show(value), "a version such as 2.7.0 (PEP 440)")
    try:
        Version(value)
    except InvalidVersion:
        raise SpecError(path, show(value), "a version such as 2.7.0 (PEP 440)") from None
    return value


def specifiers(value: object, path: str) -> str:
    """A PEP 440 specifier set that isn't empty, as written."""
    expected = "a specifier set such as >=2.7.0 (PEP 440)"
    if not isinstance(value, str) or not value.strip():
        raise SpecError(path, show(value), expected)
    try:
        SpecifierSet(value)
    except InvalidSpecifier:
        raise SpecError(path, show(value), expected) from None
    return value


def unique(values: tuple[T, ...], path: str) -> tuple[T, ...]:
    """The values, refused if one stands twice."""
    for i, value in enumerate(values):
        if value in values[:i]:
            raise SpecError(f"{path}[{i}]", f"{value} a second time", "each once")
    return values
