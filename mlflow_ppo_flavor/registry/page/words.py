"""The page's words: counts, ages, empty states, and where its links lead. Pure but for the clock, which is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from mlflow_ppo_flavor.contract.keys import VerifyingKey
from mlflow_ppo_flavor.registry.page.asked import Asked
from mlflow_ppo_flavor.registry.page.view import MODELS, Found

Link = Callable[..., str]
_STEPS = ((86_400, "day"), (3_600, "hour"), (60, "minute"))


def age(at: str, now: datetime) -> str:
    """How long ago a time was: `3 days ago`; a clock that runs ahead says `just now`."""
    seconds = (now - _time(at)).total_seconds()
    for length, name in _STEPS:
        if seconds >= length:
            return f"{plural(int(seconds // length), name)} ago"
    return "just now"


def utc(at: str) -> str:
    """A time of any zone as `2026-01-31 14:30:00 UTC`."""
    return f"{_time(at):%Y-%m-%d %H:%M:%S} UTC"


def counted(findings: Sequence[Mapping[str, str]]) -> str:
    """How many findings there are; `1 warning` where none of them could refuse."""
    warnings = all(finding["kind"] == "warning" for finding in findings)
    return plural(len(findings), "warning" if warnings else "finding")


FILTERS: Mapping[str, Callable[..., str]] = {"age": age, "utc": utc, "counted": counted}


def plural(count: int, noun: str) -> str:
    """`1 model`, `1,204 models`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def told(found: Found, link: Link, now: datetime) -> dict[str, Any]:
    """Everything that the page's template says of what was found."""
    asked = found.asked
    return {
        "title": f"{asked.name or asked.model} · The gate" if asked.name or asked.model else "The gate",
        "asked": asked,
        "now": now,
        "guard": guard_words(found.guard),
        "count": _count(found),
        "models": [{**model, **_of_model(model, asked, link)} for model in found.models],
        "empty": _empty(found),
        "pages_of_models": _pages(found, link),
        "history": found.history.items,
        "no_history": _no_history(asked),
        "events": _events(found, link),
        "everything": link() if asked.name is not None else None,
    }


def guard_words(guard: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the server is set to, term by term."""
    pem = guard["public_key"]
    signed = (
        f"sealed by key {VerifyingKey.from_pem(pem).key_id}" if pem else "not sealed: the server has no signing key"
    )
    frozen = guard["artifacts"] == "frozen"
    artifacts = "those of guarded versions are frozen" if frozen else "not frozen: digests alone tell of changes"
    return [
        ("Registry", f"guarded by mlflow-ppo {guard['version']} on {guard['database']}"),
        ("Policy", "as its file says" if guard["policy"] else "the default"),
        ("Verdicts", signed),
        ("Artifacts", artifacts),
    ]


def _count(found: Found) -> str:
    asked = found.asked
    if asked.name is not None:
        return f"Only the model {asked.name}"
    of = f" of {found.readable:,} contain “{asked.model}”" if asked.model else ""
    page = f", page {asked.page:,} of {found.pages:,}" if found.pages > 1 else ""
    return f"{plural(found.matching, 'guarded model') if not of else f'{found.matching:,}{of}'}{page}"


def _empty(found: Found) -> str:
    asked = found.asked
    if found.matching:
        return f"There {'is' if found.pages == 1 else 'are'} {plural(found.pages, 'page')} only."
    if asked.name is not None:
        return f"No guarded model that you may read is called {asked.name}."
    if asked.model and found.readable:
        return f"No guarded model's name contains “{asked.model}”."
    return (
        "No guarded model yet. A model is guarded once a version of it has the ppo flavor, a trader announced itself "
        "for it, or the policy names it."
    )


def _no_history(asked: Asked) -> str:
    if asked.before is not None:
        return "Nothing older."
    if asked.name is not None or asked.model:
        return "Nothing was asked of these models' protected references yet."
    return "Nothing was asked of a protected reference yet. What is asked stands here, allowed or not."


def _of_model(model: Mapping[str, Any], asked: Asked, link: Link) -> dict[str, Any]:
    traders = {t["trader_id"] for reference in model["references"] for t in reference["traders"] if not t["default"]}
    older = model["older"]
    return {
        "link": link(name=model["name"]),
        "traders": plural(len(traders), "announced trader") if traders else "no trader announced",
        "newer_versions": link(name=model["name"]) if asked.name is not None and asked.below is not None else None,
        "older_versions": None if older is None else link(name=model["name"], below=older),
    }


def _pages(found: Found, link: Link) -> dict[str, str | None]:
    asked = found.asked
    page = min(asked.page, found.pages + 1)
    return {
        "before": link(model=asked.model, page=page - 1) if asked.page > 1 else None,
        "after": link(model=asked.model, page=page + 1) if found.matching > asked.page * MODELS else None,
    }


def _events(found: Found, link: Link) -> dict[str, str | None]:
    asked = found.asked
    here = {"model": asked.model, "name": asked.name}
    older = found.history.next
    return {
        "newest": link(**here) if asked.before is not None else None,
        "older": None if older is None else link(**here, before=older) + "#history",
    }


def _time(at: str) -> datetime:
    time = datetime.fromisoformat(at)
    return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
