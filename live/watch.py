"""What the reference loads now, looked at again and again: in step with the caller, or in a thread beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from live.background import Background
from live.model_source import LoadedModel, ModelSource, RefusedModel
from live.resolution import Resolution
from mlflow_ppo_flavor.errors import RegistryError


@dataclass(frozen=True, eq=False)
class Sighting:
    """What a look at the reference found: its `resolution`, None where nothing stands there.

    `loaded` is that version, verified or refused; None where it is the one that runs. `trouble` says why nothing is
    known: then the rest means nothing.
    """

    resolution: Resolution | None
    loaded: LoadedModel | RefusedModel | None = None
    trouble: str = ""


class Lookout(Protocol):
    """Whoever looks at a reference for a trader."""

    def look(self, running: Resolution) -> Sighting:
        """What the reference loads, for a trader that runs this version."""


class Watch:
    """Looks when asked, which takes as long as the registry takes. A version is loaded once, not at every look; only
    one that was refused for its verdict is asked for again.
    """

    def __init__(self, source: ModelSource) -> None:
        self._source = source
        self._last: LoadedModel | RefusedModel | None = None

    def look(self, running: Resolution) -> Sighting:
        """Resolve the reference, and load what it names unless that runs already."""
        try:
            found = self._source.resolve()
            if found is None or found == running:
                return Sighting(found)
            if self._last is None or self._last.resolution != found or _may_change(self._last):
                self._last = self._source.load_resolved(found)
            return Sighting(found, self._last)
        except RegistryError as error:
            return Sighting(None, trouble=str(error))


def _may_change(last: LoadedModel | RefusedModel) -> bool:
    return isinstance(last, RefusedModel) and last.for_its_verdict


class BackgroundWatch:
    """Looks in a thread, and tells what its last finished look found: a registry that hangs holds up no trading.

    What goes wrong in the thread is raised at the next `look`.
    """

    def __init__(self, lookout: Lookout) -> None:
        self._background = Background(lookout.look)
        self._seen: Sighting | None = None

    def look(self, running: Resolution) -> Sighting:
        """What is known by now; the present state where nothing newer is. Starts the next look."""
        self._seen = self._background.turn(running) or self._seen
        return self._seen or Sighting(running)
