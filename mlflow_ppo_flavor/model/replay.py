"""Replaying golden decisions with the code that runs here: the first stage that differs is told, finding by finding."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import numpy as np

from mlflow_ppo_flavor.contract.breakage import breakages
from mlflow_ppo_flavor.contract.compatibility import Finding
from mlflow_ppo_flavor.contract.spec import ModelSpec
from mlflow_ppo_flavor.decision.action import Decision
from mlflow_ppo_flavor.decision.bar_time import show_time
from mlflow_ppo_flavor.errors import PPOFlavorError
from mlflow_ppo_flavor.model import stages
from mlflow_ppo_flavor.model.inference import infer
from mlflow_ppo_flavor.model.policy import ActorCritic
from mlflow_ppo_flavor.model.proof import Float32, Golden

LOGIT_TOLERANCE = 1e-5
"""Logits agree within this × max(1, |logit|): BLAS sums in another order on another machine."""
SURE_MARGIN = 1e-3
"""Actions must agree where the two highest logits were farther apart than this: at least in half of the cases, or the
proof is weak."""
_DECIDED = ("action", "meaning", "direction", "size", "quantity", "skipped")


def replay(golden: Golden, policy: ActorCritic, spec: ModelSpec) -> tuple[Finding, ...]:
    """What this code makes differently of the recorded bars and accounts; empty when it reproduces every decision.

    Stage by stage: spec, features, observations, logits, actions, quantities; the first that differs ends it. Features
    and observations must be equal in float32, logits within LOGIT_TOLERANCE, actions beyond SURE_MARGIN, quantities
    equal. A stage that can't be computed at all is a finding too. What is reproduced, but with fewer than half of its
    actions beyond SURE_MARGIN, is a warning: a weak proof.
    """
    run = _Replay(golden, policy, spec)
    for stage in (run.spec_stage, run.features, run.observations, run.logits, run.actions, run.quantities):
        try:
            findings = tuple(stage())
        except PPOFlavorError as error:
            findings = (run.finding("replay", f"an error: {error}", "none when it was recorded"),)
        if findings:
            return findings
    return tuple(run.weakness())


@dataclass(frozen=True)
class _Replay:
    """The stages of one replay, each giving its findings."""

    golden: Golden
    policy: ActorCritic
    spec: ModelSpec

    def spec_stage(self) -> Iterator[Finding]:
        for broken in breakages(self.golden.spec, self.spec):
            yield self._compared(f"spec.{broken.place}", broken.new, broken.old)

    def features(self) -> Iterator[Finding]:
        found = np.concatenate([stages.features_of(s.bars, s.rows, self.spec) for s in self.golden.segments])
        recorded = np.concatenate([s.features for s in self.golden.segments])
        times = np.concatenate([s.bars.time[s.rows] for s in self.golden.segments])
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
        observations = stages.observations_of(self.golden.segments, self.golden.cases, self.spec)
        for i, sample in enumerate(self.golden.samples):
            differing = np.flatnonzero(observations[i] != sample)
            if len(differing):
                k = int(differing[0])
                bar, feature = divmod(k, self.spec.n_features)
                where = f"{self.spec.features[feature]} of bar {bar} in the window"
                place = f"observation[{k}] ({where}) at {self._time(i)}"
                yield self._compared(place, observations[i, k], sample[k], f"{len(differing)} numbers differ")
        for i, digest in enumerate(stages.digests_of(observations)):
            if digest != self.golden.digests[i]:
                yield self._compared(f"sha256 of the observation at {self._time(i)}", digest, self.golden.digests[i])

    def logits(self) -> Iterator[Finding]:
        found = self._found_logits
        allowed = LOGIT_TOLERANCE * np.maximum(1.0, np.abs(self.golden.logits))
        # written so that NaN differs
        wrong = ~(np.abs(found.astype(np.float64) - self.golden.logits) <= allowed)
        for i in np.flatnonzero(wrong.any(axis=1)):
            action = int(np.flatnonzero(wrong[i])[0])
            place = f"logit of {self.spec.action_meanings[action]} at {self._time(int(i))}"
            yield self._compared(place, found[i, action], self.golden.logits[i, action])

    def actions(self) -> Iterator[Finding]:
        found = self._found_logits.argmax(axis=1)
        for i in np.flatnonzero((found != self.golden.actions) & (self.golden.margins > SURE_MARGIN)):
            names = self.spec.action_meanings
            recorded = names.get(int(self.golden.actions[i]), "no action")
            yield self._compared(f"action at {self._time(int(i))}", names[int(found[i])], recorded)

    def weakness(self) -> Iterator[Finding]:
        sure, cases = int((self.golden.margins > SURE_MARGIN).sum()), len(self.golden.cases)
        if 2 * sure < cases:
            found = f"{sure} of {cases} actions with a margin above {SURE_MARGIN:g}"
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
    def _found_logits(self) -> Float32:
        return infer(self.policy, stages.observations_of(self.golden.segments, self.golden.cases, self.spec))[0]

    def _time(self, i: int) -> str:
        case = self.golden.cases[i]
        return show_time(int(self.golden.segments[case.segment].bars.time[case.row]))

    def _compared(self, place: str, found: object, recorded: object, number: str = "") -> Finding:
        return self.finding(place, str(found), f"recorded {recorded!s}" + (f" ({number})" if number else ""))

    def finding(self, place: str, found: str, expected: str) -> Finding:
        packages = ", ".join(f"{name} {version}" for name, version in self.golden.recorded_with.items())
        remedy = f"don't trade it with this code: it was recorded with {packages or 'packages unknown'}"
        return Finding("golden", "safety", f"golden.{place}", found, expected, remedy)
