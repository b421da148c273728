"""The guard: check, MLflow's own write and history in one transaction; contracts are read outside it, once each."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_CONFLICT
from mlflow.utils.time import get_current_time_millis
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from mlflow_ppo_flavor.contract.trader import Announcement, Attestation
from mlflow_ppo_flavor.registry import fleet, history
from mlflow_ppo_flavor.registry.artifacts import read_contract
from mlflow_ppo_flavor.registry.case import Answer, Case, InHand, refusal
from mlflow_ppo_flavor.registry.gate import (
    Contracts,
    Fleet,
    Ruling,
    moved_references,
    rule,
    rule_announcement,
    rule_attestation,
    rule_unknown,
)
from mlflow_ppo_flavor.registry.history import Occasion
from mlflow_ppo_flavor.registry.resolution import (
    DeleteModel,
    DeleteVersion,
    Operation,
    Rename,
    VersionKey,
    without_effect,
)
from mlflow_ppo_flavor.registry.session import JoiningSessionMaker
from mlflow_ppo_flavor.registry.standing import Standing, Unread

# A round reads part of what the one before found unread, and keeps it or, where it can't be known, has it in hand.
_BATCH = 100
_ROUNDS = 1_000
_logger = logging.getLogger(__name__)


class Guard:
    """Rules on operations over one store's sessions. `workspace` gives the active workspace of the calling request."""

    def __init__(self, sessions: JoiningSessionMaker, workspace: Callable[[], str]) -> None:
        self._sessions = sessions
        self._workspace = workspace

    def carry_out(self, operation: Operation, write: Callable[[], Any]) -> Any:
        """Rule on an operation and, where allowed, let MLflow write; 409 with every finding where it isn't."""
        return self._settle(operation.models, lambda session, hand: self._decide(session, operation, write, hand))

    def announce(self, announcement: Announcement, require_model: Callable[[Session], Any]) -> None:
        """Keep a trader's announcement; 409 with every finding while its reference loads what it can't run."""

        def decide(session: Session, in_hand: InHand) -> Answer:
            require_model(session)
            return self._decide_announcement(session, announcement, in_hand)

        self._settle((announcement.reference.model,), decide)

    def attest(self, key: VersionKey, attestation: Attestation, require_version: Callable[[Session], Any]) -> None:
        """Keep a trader's attestation; 409 with the finding where the version's contract isn't what it replayed."""

        def decide(session: Session, in_hand: InHand) -> Answer:
            require_version(session)
            return self._decide_attestation(session, key, attestation, in_hand)

        self._settle((key.model,), decide)

    def learn(self, model: str, version: int) -> None:
        """Read the contract of a version just registered. Where that fails it is read when it is first needed."""
        try:
            with self.transaction((model,)) as session:
                unread = self.standing(session).unread((model,), (version,))
            for contract in self._read(unread).values():
                _logger.warning("The contract of %s version %s is read later: %s", model, version, contract.reason)
        except MlflowException as error:
            _logger.warning("The contract of %s version %s is read later: %s", model, version, error)

    @contextmanager
    def transaction(self, names: Sequence[str]) -> Iterator[Session]:
        """A locked transaction; what fails in it unexpectedly changes nothing and reads as a refusal, never a retry."""
        with self._sessions.transaction(names) as session:
            try:
                yield session
            except (MlflowException, SQLAlchemyError):
                raise
            except Exception as error:
                raise MlflowException(
                    f"Refused: the gate failed and nothing was changed: {type(error).__name__}: {error}",
                    error_code=RESOURCE_CONFLICT,
                ) from error

    def standing(self, session: Session) -> Standing:
        """The registry as this session sees it, in the active workspace."""
        return Standing(session, self._workspace())

    def fleet_of(self, session: Session, model: str) -> Fleet:
        """Every announcement for a model's references."""
        return fleet.fleet_of(session, self._workspace(), (model,))

    def _settle(self, names: Sequence[str], decide: Callable[[Session, InHand], Answer]) -> Any:
        in_hand: InHand = {}
        for _ in range(_ROUNDS):
            with self.transaction(names) as session:
                answer = decide(session, in_hand)
            if answer.ruling is not None and not answer.ruling.allowed:
                raise refusal(answer.ruling)
            if not answer.unread:
                return answer.result
            in_hand |= self._read(answer.unread)
        raise MlflowException(
            f"Refused: new versions of {names[0]} keep appearing while the gate reads them: try again",
            error_code=RESOURCE_CONFLICT,
        )

    def _decide(self, session: Session, operation: Operation, write: Callable[[], Any], in_hand: InHand) -> Answer:
        case = self._case(session, operation.models, operation.versions)
        needed = {move.after for move in moved_references(operation, case.models, case.fleet) if move.after}
        if not case.guarded:
            if not needed and without_effect(case.models, operation) is None:
                return Answer(write())
            unread = [found for found in self.standing(session).unread(operation.models) if found not in in_hand]
            if unread:
                return Answer(unread=unread)
        case = self._with_contracts(session, case, needed, in_hand)
        if case.unread:
            return Answer(unread=case.unread)
        if not case.guarded:
            return self._decide_unknown(session, operation, write, case)
        ruling = rule(operation, case.models, case.contracts, case.fleet)
        result = write() if ruling.allowed else None
        if ruling.allowed:
            self._follow(session, operation)
        if ruling.moves or not ruling.allowed:
            self._show(session, ruling, case.contracts)
            self._record(session, operation.model, operation.to_dict(), ruling, case)
        return Answer(result, ruling)

    def _decide_unknown(self, session: Session, operation: Operation, write: Callable[[], Any], case: Case) -> Answer:
        """An operation on a model that, as far as anybody knows, isn't guarded: it is recorded only where refused."""
        ruling = rule_unknown(operation, case.models, case.contracts)
        if ruling is None:
            return Answer(write())
        self._record(session, operation.model, operation.to_dict(), ruling, case)
        return Answer(None, ruling)

    def _decide_announcement(self, session: Session, announcement: Announcement, in_hand: InHand) -> Answer:
        reference = announcement.reference
        case = self._case(session, (reference.model,), ())
        model = case.models.get(reference.model)
        present = None if model is None else model.resolve(reference)
        needed = {VersionKey(reference.model, present)} if present is not None else set()
        case = self._with_contracts(session, case, needed, in_hand)
        if case.unread:
            return Answer(unread=case.unread)
        ruling = rule_announcement(announcement, case.models, case.contracts)
        if ruling.allowed:
            fleet.put(session, self._occasion(), announcement)
        told = {"kind": "announce", **history.told(announcement)}
        self._record(session, reference.model, told, ruling, case)
        return Answer(None, ruling)

    def _decide_attestation(
        self, session: Session, key: VersionKey, attestation: Attestation, in_hand: InHand
    ) -> Answer:
        case = self._with_contracts(session, self._case(session, (key.model,), ()), {key}, in_hand)
        if case.unread:
            return Answer(unread=case.unread)
        contract, standing, occasion = case.contracts[key], self.standing(session), self._occasion()
        ruling = rule_attestation(key, attestation, contract)
        if ruling.allowed:
            standing.attest(occasion, key, attestation)
            standing.introduce(key, contract)
        told = {"kind": "attest", "version": key.version, **history.attested(attestation)}
        self._record(session, key.model, told, ruling, case)
        return Answer(None, ruling)

    def _case(self, session: Session, names: Sequence[str], versions: Sequence[int]) -> Case:
        standing = self.standing(session)
        announced = fleet.fleet_of(session, self._workspace(), names)
        guarded = bool(announced) or standing.is_flavored(names)
        return Case(guarded, standing.models(names, versions), announced, {})

    def _with_contracts(self, session: Session, case: Case, needed: set[VersionKey], in_hand: InHand) -> Case:
        standing = self.standing(session)
        kept = standing.contracts(needed) if needed else {}
        missing = [
            found
            for model in sorted({key.model for key in needed - kept.keys()})
            for found in standing.unread((model,), [key.version for key in needed if key.model == model])
        ]
        contracts = kept | {found.key: in_hand[found] for found in missing if found in in_hand}
        unread = [found for found in missing if found not in in_hand]
        return Case(case.guarded, case.models, case.fleet, contracts, unread)

    def _read(self, unread: Sequence[Unread]) -> InHand:
        """Read a batch of contracts, up to the first that has the flavor: it makes its model guarded.

        What is known is kept; what isn't is returned, for the ruling in hand alone: the next one reads it again.
        """
        found = []
        for version in unread[:_BATCH]:
            contract = read_contract(version.location)
            found.append((version, contract))
            if contract.flavored:
                break
        with self.transaction(sorted({version.key.model for version, _ in found})) as session:
            standing = self.standing(session)
            for version, contract in found:
                if contract.known:
                    standing.keep(version, contract)
                if contract.flavored:
                    standing.introduce(version.key, contract)
        return {version: contract for version, contract in found if not contract.known}

    def _follow(self, session: Session, operation: Operation) -> None:
        """The guard's own rows follow what MLflow has just done."""
        if isinstance(operation, Rename):
            self.standing(session).rename(operation.model, operation.new_name)
        elif isinstance(operation, DeleteModel):
            self.standing(session).forget(operation.model)
        elif isinstance(operation, DeleteVersion):
            self.standing(session).forget(operation.model, operation.version)

    def _show(self, session: Session, ruling: Ruling, contracts: Contracts) -> None:
        """The verdict on the pages of the versions that it speaks of."""
        now = datetime.fromtimestamp(get_current_time_millis() / 1000, UTC)
        for move in ruling.moves:
            if move.after is not None:
                name = move.reference.model if ruling.allowed else move.after.model
                key = VersionKey(name, move.after.version)
                told = f"{now:%Y-%m-%d %H:%M:%S} UTC {ruling.fact}"
                self.standing(session).tell(key, contracts[move.after], told)

    def _record(self, session: Session, model: str, told: dict[str, Any], ruling: Ruling, case: Case) -> None:
        history.record(session, self._occasion(), model, told, ruling, case.fleet, case.contracts)

    def _occasion(self) -> Occasion:
        return Occasion(get_current_time_millis(), self._workspace(), history.requester())
