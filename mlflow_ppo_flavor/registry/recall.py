"""Recall: takes a reference back from what it loads, by rollback or withdrawal; the guard chooses how."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy.orm import Session

from mlflow_ppo_flavor.contract.reference import Reference
from mlflow_ppo_flavor.registry import verdicts
from mlflow_ppo_flavor.registry.case import Answer, Case, unguarded
from mlflow_ppo_flavor.registry.clerk import Clerk
from mlflow_ppo_flavor.registry.fact import short_reference
from mlflow_ppo_flavor.registry.guard import Guard
from mlflow_ppo_flavor.registry.hearing import Hearing
from mlflow_ppo_flavor.registry.resolution import RegisteredModel
from mlflow_ppo_flavor.registry.retreat import (
    Choice,
    choose_rollback,
    choose_withdrawal,
    needed,
    rollbacks,
    withdrawal,
)

Enact = Callable[[RegisteredModel, RegisteredModel], None]
"""Lets MLflow make of a registered model what another one is, in stages and aliases."""
RequireModel = Callable[[Session], Any]
"""Raises MLflow's own error where a model isn't registered."""


class Recall:
    """Rollbacks and withdrawals through one guard."""

    def __init__(self, guard: Guard, enact: Enact) -> None:
        self._guard = guard
        self._enact = enact

    def roll_back(self, reference: Reference, require_model: RequireModel) -> None:
        """Let a reference load the last version that it loaded before and that today's fleet can run; 409 where there
        is none.
        """

        def decide(hearing: Hearing) -> Answer:
            require_model(hearing.session)
            ran = verdicts.ran(hearing.session, hearing.occasion.workspace, reference, hearing.setting)
            case = self._open(hearing, reference, {each.version for each in ran if each.version is not None})
            known, policy = case.standing, self._guard.setting.policy
            wanted = needed(rollbacks(reference, ran, known.models), known.models, known.fleet, policy)
            case = hearing.call(case, wanted)
            if case.lack:
                return Answer(lack=case.lack)
            choice = choose_rollback(reference, ran, known.models, case.contracts, known.fleet, policy)
            return self._conclude(hearing, reference, "rollback", choice, case)

        self._guard.settle((reference.model,), decide)

    def withdraw(self, reference: Reference, require_model: RequireModel) -> None:
        """Let a reference load no longer what it loads; a version that surfaces and can't be run goes too."""

        def decide(hearing: Hearing) -> Answer:
            require_model(hearing.session)
            case = self._open(hearing, reference, set())
            known, policy = case.standing, self._guard.setting.policy
            wanted = needed([withdrawal(reference, known.models)], known.models, known.fleet, policy)
            case = hearing.call(case, wanted)
            if case.lack:
                return Answer(lack=case.lack)
            choice = choose_withdrawal(reference, known.models, case.contracts, known.fleet, policy)
            return self._conclude(hearing, reference, "withdraw", choice, case)

        self._guard.settle((reference.model,), decide)

    def _open(self, hearing: Hearing, reference: Reference, versions: set[int]) -> Case:
        case = hearing.open((reference.model,), sorted(versions))
        if not case.guarded:
            raise unguarded(short_reference(reference))
        return case

    def _conclude(self, hearing: Hearing, reference: Reference, kind: str, choice: Choice, case: Case) -> Answer:
        clerk = Clerk(hearing.session, hearing.occasion, self._guard.setting)
        if choice.operation is None or not choice.ruling.allowed:
            clerk.record(reference.model, {"kind": kind, "label": reference.label}, choice.ruling, case)
            return Answer(None, choice.ruling)
        models = case.standing.models
        self._enact(models[reference.model], choice.operation.apply(models)[reference.model])
        clerk.file(choice.operation, choice.ruling, case)
        return Answer(None, choice.ruling)
