"""Replaying golden decisions with the code that runs here: the first stage that differs is told, finding by finding."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from mlflow_ppo_flavor.contract import parsing
from mlflow_ppo_flavor.contract.breakage import breakages
from mlflow_ppo_flavor.contract.compatibility import Finding
from mlflow_ppo_flavor.contract.spec import BarSpec, ModelSpec
from mlflow_ppo_flavor.decision.action import Decision
from mlflow_ppo_flavor.decision.bar_time import show_time
from mlflow_ppo_flavor.errors import PPOFlavorError
from mlflow_ppo_flavor.model import stages
from mlflow_ppo_flavor.model.inference import Policy, infer
from mlflow_ppo_flavor.model.proof import Float32, Golden
from mlflow_ppo_flavor.model.reproduction import Reproduction, Stage

LOGIT_TOLERANCE = 1e-5
"""Logits and values agree within this × max(1, |number|): BLAS sums in another order on another machine."""
SURE_MARGIN = 1e-3
"""Actions must agree where the two highest logits were farther apart than this: at least in half of the cases, or the
proof is weak."""
_DECIDED = ("action", "meaning", "direction", "size", "quantity", "skipped")


def replay(golden: Golden, policy: Policy, spec: ModelSpec) -> tuple[Finding, ...]:
    """What this code makes differently of the recorded bars and accounts: the findings of `reproduce`."""
    return reproduce(golden, policy, spec).findings


def reproduce(golden: Golden, policy: Policy, spec: ModelSpec, *, digest: str = "") -> Reproduction:
    """Replay golden decisions stage by stage; `digest` is that of the model which they come from.

    Spec, bars, features, observations, logits and values, actions, quantities: the first stage that differs ends it.
    Features and observations must be equal in float32, logits and values within LOGIT_TOLERANCE, actions beyond
    SURE_MARGIN, quantities equal. A stage that can't be computed at all is a finding too. What is reproduced, but with
    fewer than half of its actions beyond SURE_MARGIN, is a warning: a weak proof.

    What it can't see: weights that change no logit and no value of the recorded cases by more than the tolerance. A
    layer times 1.001 shows in the values, also before training, and the actor's last layer in the logits as soon as one
    of them is beyond 0.01, which untrained ones barely are; zero biases are the same whatever they are multiplied by;
    and of a policy without a critic, or an untrained actor whose logits are below 0.01, less is seen.
    Of whole files the model's digest tells the difference.
    """
    run = _Replay(golden, policy, spec)
    passed: list[Stage] = []
    for stage, compare in run.stages:
        try:
            findings = tuple(compare())
        except Exception as error:  # noqa: BLE001 -- whatever other code does: what can't be computed differs
            why = str(error) if isinstance(error, PPOFlavorError) else parsing.told(error)
            findings = (run.finding(stage.name, f"an error: {why}", "none when it was recorded"),)
        if findings:
            return Reproduction(digest, tuple(passed), findings)
        passed.append(stage)
    return Reproduction(digest, tuple(passed), tuple(run.weakness()))


@dataclass(frozen=True)
class _Replay:
    """One replay: its stages, each giving its findings."""

    golden: Golden
    policy: Policy
    spec: ModelSpec

    @property
    def stages(self) -> tuple[tuple[Stage, Callable[[], Iterator[Finding]]], ...]:
        """What each stage compares, in words and as the method that does it."""
        golden, spec, cases = self.golden, self.spec, len(self.golden.cases)
        bars, rows = sum(len(s.bars) for s in golden.segments), sum(len(s.rows) for s in golden.segments)
        table = sum(len(group) for row in golden.table for group in row.decisions)
        every = f", {table:,} of them every action of {len(golden.table)} accounts" if table else ""
        values = f", and {cases:,} values" if golden.has_values else ""
        return (
            (Stage("spec", spec.n_features + spec.n_actions, "features and actions by name"), self.spec_stage),
            (Stage("bars", bars, f"in {len(golden.segments)} segment(s)"), self.bars),
            (Stage("features", rows, f"rows of {len(spec.market_features)} market features"), self.features),
            (Stage("observations", cases, f"of {spec.obs_dim:,} numbers"), self.observations),
            (Stage("logits", golden.logits.size, f"of {cases:,} cases{values}"), self.logits),
            (Stage("actions", self._sure, f"beyond the margin of {SURE_MARGIN:g}, of {cases:,}"), self.actions),
            (Stage("quantities", cases + table, f"decisions{every}"), self.quantities),
        )

    def spec_stage(self) -> Iterator[Finding]:
        for broken in breakages(self.golden.spec, self.spec):
            yield self._compared(f"spec.{broken.place}", broken.new, broken.old)

    def bars(self) -> Iterator[Finding]:
        for i, segment in enumerate(self.golden.segments):
            if self.spec.bars not in (None, segment.bars.spec):
                yield self._compared(f"bars of segment {i}", _shown(self.spec.bars), _shown(segment.bars.spec))

    def features(self) -> Iterator[Finding]:
        found = np.concatenate([stages.features_of(s.bars, s.rows, self.spec) for s in self.golden.segments])
        recorded = np.concatenate([s.features for s in self.golden.segments])
        times = np.concatenate([s.bars.time[s.rows] for s in self.golden.segments])
        yield from self._kind("features", found)
        differs = found != recorded
        for column in np.flatnonzero(differs.any(axis=0)):
            row = int(np.flatnonzero(differs[:, column])[0])
            number = f"{differs[:, column].sum()} of {len(times)} bars differ"
            place = f"features {self.spec.market_features[column]} at {show_time(int(times[row]))}"
            yield self._compared(place, found[row, column], recorded[row, column], number)

    def observations(self) -> Iterator[Finding]:
        found = stages.account_features_of(self.golden.cases, self.spec)
        for i, column in np.argwhere(found != self.golden.account_features):
            place = f"observation {self.spec.account_features[column]} at {self._time(int(i))}"
            yield self._compared(place, found[i, column], self.golden.account_features[i, column])
        yield from self._kind("observation", self._observations)
        for i, sample in enumerate(self.golden.samples):
            differing = np.flatnonzero(self._observations[i] != sample)
            if len(differing):
                k = int(differing[0])
                bar, feature = divmod(k, self.spec.n_features)
                where = f"{self.spec.features[feature]} of bar {bar} in the window"
                place = f"observation[{k}] ({where}) at {self._time(i)}"
                yield self._compared(place, self._observations[i, k], sample[k], f"{len(differing)} numbers differ")
        for i, digest in enumerate(stages.digests_of(self._observations)):
            if digest != self.golden.digests[i]:
                yield self._compared(f"sha256 of the observation at {self._time(i)}", digest, self.golden.digests[i])

    def logits(self) -> Iterator[Finding]:
        logits, values = self._inferred
        yield from self._kind("logits", logits)
        names = [f"logit of {name}" for name in self.spec.action_meanings.values()]
        yield from self._numbers(names, logits, self.golden.logits)
        if self.golden.has_values:
            yield from self._kind("values", values)
            yield from self._numbers(["value"], values[:, np.newaxis], self.golden.values[:, np.newaxis])

    def _numbers(self, names: Sequence[str], found: Float32, recorded: Float32) -> Iterator[Finding]:
        """The first number of each case that is beyond the tolerance; columns are called `names`."""
        allowed = LOGIT_TOLERANCE * np.maximum(1.0, np.abs(recorded))
        # written so that NaN differs
        wrong = ~(np.abs(found.astype(np.float64) - recorded) <= allowed)
        for i in np.flatnonzero(wrong.any(axis=1)):
            column = int(np.flatnonzero(wrong[i])[0])
            place = f"{names[column]} at {self._time(int(i))}"
            yield self._compared(place, found[i, column], recorded[i, column])

    def actions(self) -> Iterator[Finding]:
        found = self._inferred[0].argmax(axis=1)
        for i in np.flatnonzero((found != self.golden.actions) & (self.golden.margins > SURE_MARGIN)):
            names = self.spec.action_meanings
            recorded = names.get(int(self.golden.actions[i]), "no action")
            yield self._compared(f"action at {self._time(int(i))}", names[int(found[i])], recorded)

    def weakness(self) -> Iterator[Finding]:
        if 2 * self._sure < len(self.golden.cases):
            found = f"{self._sure} of {len(self.golden.cases)} actions with a margin above {SURE_MARGIN:g}"
            remedy = "it proves little of what the policy chooses: train it longer, or record other bars"
            yield Finding("weak_proof", "warning", "golden.margins", found, "expected at least half of them", remedy)

    def quantities(self) -> Iterator[Finding]:
        actions, first = self.golden.actions.tolist(), self.golden.instruments[0]
        decided = stages.decisions_of(actions, self.golden.segments, self.golden.cases, self.spec, first)
        for i, (found, recorded) in enumerate(zip(decided, self.golden.decisions, strict=True)):
            yield from self._decision(f"decision at {self._time(i)}", found, recorded)
        for row in self.golden.table:
            groups = stages.table_of(row.account, row.price, self.spec, self.golden.instruments)
            for found, recorded in zip(chain(*groups), chain(*row.decisions), strict=True):
                yield from self._decision(f"decision of an account {row.name}", found, recorded)

    def _decision(self, place: str, found: Decision, recorded: Decision) -> Iterator[Finding]:
        for name in _DECIDED:
            if getattr(found, name) != getattr(recorded, name):
                at = f"{place}, action {found.meaning}: {name}"
                yield self._compared(at, getattr(found, name), getattr(recorded, name))

    @cached_property
    def _observations(self) -> Float32:
        return stages.observations_of(self.golden.segments, self.golden.cases, self.spec)

    @cached_property
    def _inferred(self) -> tuple[Float32, Float32]:
        return infer(self.policy, self._observations)

    @property
    def _sure(self) -> int:
        return int((self.golden.margins > SURE_MARGIN).sum())

    def _kind(self, place: str, found: npt.NDArray[Any]) -> Iterator[Finding]:
        """What isn't float32 is another computation, also where its numbers are equal."""
        if found.dtype != np.float32:
            yield self._compared(place, found.dtype, "float32")

    def _time(self, i: int) -> str:
        case = self.golden.cases[i]
        return show_time(int(self.golden.segments[case.segment].bars.time[case.row]))

    def _compared(self, place: str, found: object, recorded: object, number: str = "") -> Finding:
        return self.finding(place, str(found), f"recorded {recorded!s}" + (f" ({number})" if number else ""))

    def finding(self, place: str, found: str, expected: str) -> Finding:
        packages = ", ".join(f"{name} {version}" for name, version in self.golden.recorded_with.items())
        remedy = f"don't trade it with this code: it was recorded with {packages or 'packages unknown'}"
        return Finding("golden", "safety", f"golden.{place}", found, expected, remedy)


def _shown(bars: BarSpec | None) -> str:
    return "none" if bars is None else ", ".join(bars.to_dict().values())
