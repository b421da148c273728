"""Clerk: writes down what was ruled, in the transaction of the ruling: verdicts, notices, history, the guard's rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.orm import Session

from mlflow_ppo_flavor.registry import approvals, attestations, candidates, history, overrides, verdicts
from mlflow_ppo_flavor.registry.case import Case
from mlflow_ppo_flavor.registry.gate import Ruling
from mlflow_ppo_flavor.registry.history import Occasion
from mlflow_ppo_flavor.registry.notices import Notices
from mlflow_ppo_flavor.registry.resolution import DeleteModel, DeleteVersion, Move, Operation, Rename, VersionKey
from mlflow_ppo_flavor.registry.setting import Setting
from mlflow_ppo_flavor.registry.verdicts import Loading


@dataclass(frozen=True, slots=True)
class Clerk:
    """Writes through one session, on one occasion."""

    session: Session
    occasion: Occasion
    setting: Setting

    def file(self, operation: Operation, ruling: Ruling, case: Case) -> None:
        """All that follows from a ruling on an operation on guarded models; MLflow has carried it out if allowed."""
        if ruling.allowed:
            self._follow(operation)
            self.load(ruling, case)
        if ruling.moves or not ruling.allowed or operation.retreats:
            self._show(ruling, case)
            self.record(operation.model, operation.to_dict(), ruling, case)

    def load(self, ruling: Ruling, case: Case) -> None:
        """The verdicts on what references load from now on; what let the versions in is used up."""
        loadings = [_loading(move, case) for move in ruling.moves]
        verdicts.append(self.session, self.occasion, self.setting, loadings, case.standing.sequences)
        for move in ruling.moves:
            if move.after is not None and (move.reference, move.after.version) in case.standing.approved:
                approvals.use(self.session, self.occasion.workspace, move.reference, move.after.version)
        if ruling.overrides:
            overrides.use(self.session, self.occasion, ruling.overrides)

    def record(self, model: str, told: Mapping[str, Any], ruling: Ruling, case: Case) -> None:
        """A row of the history."""
        history.record(self.session, self.occasion, model, told, ruling, case.standing.fleet, case.contracts)

    def _show(self, ruling: Ruling, case: Case) -> None:
        """The verdict on the pages of the versions that it speaks of."""
        notices = Notices(self.session, self.occasion.workspace)
        told = told_verdict(self.occasion.at, ruling.fact)
        for key in dict.fromkeys(move.after for move in ruling.moves):
            if key is not None:
                name = next(move.reference.model for move in ruling.moves if move.after == key)
                named = VersionKey(name if ruling.allowed else key.model, key.version)
                notices.tell(named, case.candidates[key], case.contracts[key], told)

    def _follow(self, operation: Operation) -> None:
        """The guard's own rows follow what MLflow has just done.

        Announcements stay: traders go on loading the old name. Verdicts stay too: their sequences never fall.
        """
        session, workspace, model = self.session, self.occasion.workspace, operation.model
        if isinstance(operation, Rename):
            if model == operation.new_name:
                # nothing stands in the new name's way
                return
            candidates.rename(session, workspace, model, operation.new_name)
            attestations.rename(session, workspace, model, operation.new_name)
            for name in operation.models:
                approvals.forget(session, workspace, name)
        elif isinstance(operation, DeleteModel):
            candidates.forget(session, workspace, model)
            attestations.forget(session, workspace, model)
            approvals.forget(session, workspace, model)
        elif isinstance(operation, DeleteVersion):
            attestations.forget(session, workspace, model, operation.version)
            approvals.forget(session, workspace, model, operation.version)


def told_verdict(at: int, fact: str) -> str:
    """The gate's last word on a version as its page has it: when it was given (ms since 1970), and the fact."""
    return f"{datetime.fromtimestamp(at / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC {fact}"


def _loading(move: Move, case: Case) -> Loading:
    if move.after is None:
        return Loading(move.reference)
    return Loading(move.reference, case.candidates[move.after].origin, case.contracts[move.after].digest)
