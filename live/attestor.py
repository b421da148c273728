"""Attestor: says to the registry what this trader reproduced: the version that it runs, and what may come next."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

from live.background import Background
from live.model_source import LoadedModel, ModelSource
from live.resolution import Resolution
from live.verification import Verification
from mlflow_ppo_flavor.announcement import attest
from mlflow_ppo_flavor.contract.reference import Reference
from mlflow_ppo_flavor.errors import PromotionRefused, RegistryError
from mlflow_ppo_flavor.model.reproduction import Reproduction

CANDIDATES = ("Staging", "@candidate")
"""Where versions stand that may be promoted next."""


class Attesting(Protocol):
    """Whoever attests for a trader."""

    def look(self, running: LoadedModel) -> tuple[str, ...]:
        """What there is to tell of the version that runs and of the candidates, each thing once."""


class Attestor:
    """Attests when asked, which takes as long as registry and replay take. Each digest is replayed once.

    Nothing that goes wrong here is raised: it costs an attestation, and is told once until it goes well again.
    """

    def __init__(self, source: ModelSource) -> None:
        self._source = source
        self._done: set[Resolution] = set()
        self._reproduced: dict[str, Reproduction] = {}
        self._troubled: set[str] = set()

    def look(self, running: LoadedModel) -> tuple[str, ...]:
        """Attest the version that runs, then the candidates that pass."""
        told = self._attempt("attestation", partial(self._attest_running, running))
        for label in CANDIDATES:
            told += self._attempt(f"candidates in {label}", partial(self._look_at, label))
        return told

    def _attempt(self, place: str, act: Callable[[], tuple[str, ...]]) -> tuple[str, ...]:
        """What came of it; a trouble is told when it begins: its words may differ each time, as addresses do."""
        try:
            told = act()
        except RegistryError as error:
            trouble = str(error)
        except Exception as error:  # noqa: BLE001 -- a candidate's files are a stranger's: nothing in them ends trading
            trouble = f"unexpected {type(error).__name__}: {error}"
        else:
            self._troubled.discard(place)
            return told
        known = place in self._troubled
        self._troubled.add(place)
        return () if known else (f"{place}: {trouble}",)

    def _attest_running(self, running: LoadedModel) -> tuple[str, ...]:
        if running.resolution in self._done:
            return ()
        told: tuple[str, ...] = ()
        if running.reproduction is not None:
            self._reproduced[running.digest] = running.reproduction
            told = self._attest(f"version {running.version}", running.version, running.reproduction)
        self._done.add(running.resolution)
        return told

    def _look_at(self, label: str) -> tuple[str, ...]:
        """Replay and attest what a reference of candidates loads, unless that is done."""
        found = self._source.resolve(Reference.parse(self._source.reference.model, label))
        if found is None or found in self._done:
            return ()
        version = found.version
        place = f"candidate version {version}"
        reproduction = self._reproduced.get(self._source.registered_digest(version) or "")
        told = self._verify(place, version) if reproduction is None else self._attest(place, version, reproduction)
        self._done.add(found)
        return told

    def _verify(self, place: str, version: int) -> tuple[str, ...]:
        found = self._source.verify(version)
        if not found.reproduced or not found.verdict.allowed or found.reproduction is None:
            return (f"{place}: {_shortcoming(found)}",)
        self._reproduced[found.reproduction.digest] = found.reproduction
        return self._attest(place, version, found.reproduction)

    def _attest(self, place: str, version: int, reproduction: Reproduction) -> tuple[str, ...]:
        trader, model = self._source.trader, self._source.reference.model
        try:
            attest(model, version, reproduction, trader_id=trader.trader_id, trader_version=trader.version)
        except PromotionRefused as refusal:
            return (f"{place}: not attested: {str(refusal).partition(chr(10))[0]}",)
        return (f"{place}: attested: {reproduction.decisions} decisions reproduced",)


class BackgroundAttestor:
    """Attests in a thread, and tells what came of it once that is known: a registry that hangs holds up no trading."""

    def __init__(self, attestor: Attesting) -> None:
        self._background = Background(attestor.look)

    def look(self, running: LoadedModel) -> tuple[str, ...]:
        """What is new; starts the next look."""
        return self._background.turn(running) or ()


def _shortcoming(found: Verification) -> str:
    """Why a version isn't attested, in one line."""
    if found.unproven:
        return f"unproven: {found.unproven}"
    replayed = () if found.reproduction is None or found.reproduced else found.reproduction.findings
    findings, word = (replayed, "not reproduced") if replayed else (found.verdict.blocking, "refused")
    more = f" (and {len(findings) - 1} more findings)" if len(findings) > 1 else ""
    return f"{word}: {findings[0].message}{more}"
