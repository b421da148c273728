"""The view: which models, versions and events one request is shown, and where the pages before and after start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mlflow_ppo_flavor.registry.page.asked import Asked
from mlflow_ppo_flavor.registry.page.reading import Part, Reading
from mlflow_ppo_flavor.registry.page.sheet import event_words, sheet, terms_words

MODELS = 8
"""Models on a page."""
VERSIONS, VERSIONS_OF_ONE = 5, 20
"""Versions of each model: where there are several, and where it is shown alone."""
EVENTS = 25
"""Events of the history."""


@dataclass(frozen=True)
class Found:
    """What one request is shown. `readable`: models that the user may read; `matching`: those that were asked for."""

    asked: Asked
    guard: dict[str, Any]
    readable: int
    matching: int
    models: Sequence[dict[str, Any]]
    history: Part

    @property
    def pages(self) -> int:
        """How many pages of models there are, 1 at least."""
        return max(1, -(-self.matching // MODELS))

    def standing(self) -> dict[str, Any]:
        """The models as JSON values."""
        return {"models": list(self.models), "page": self.asked.page, "pages": self.pages, "matching": self.matching}

    def events(self) -> dict[str, Any]:
        """The history as JSON values; `next` is the id to go on before."""
        return {"events": self.history.items, "next": self.history.next}


def find(read: Reading, asked: Asked) -> Found:
    """What a request is shown, of what its user may read."""
    readable = read.names("standing")
    matching = [name for name in readable if asked.wants(name)]
    first = (asked.page - 1) * MODELS
    most = VERSIONS if asked.name is None else VERSIONS_OF_ONE
    below = None if asked.name is None else asked.below
    reports = read.standing(matching[first : first + MODELS], most + 1, below)
    models = [sheet(report, most, below) for report in reports]
    for model in models:
        for reference in model["references"]:
            reference["asks"] = terms_words(read.asks(model["name"], reference["label"]))
    history = read.history(asked.wants, EVENTS, asked.before)
    events = [{**event, "what": event_words(event["operation"])} for event in history.items]
    return Found(asked, read.guard(), len(readable), len(matching), models, Part(events, history.next))
