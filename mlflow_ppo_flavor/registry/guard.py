"""The guard: check, MLflow's own write, verdict and history in one transaction; what is fetched is fetched outside."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_CONFLICT
from mlflow.utils.time import get_current_time_millis
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from mlflow_ppo_flavor.registry import adoption, candidates, history
from mlflow_ppo_flavor.registry.artifacts import read_contract
from mlflow_ppo_flavor.registry.candidates import Origin
from mlflow_ppo_flavor.registry.case import Answer, Case, InHand, Lack, refusal
from mlflow_ppo_flavor.registry.clerk import Clerk
from mlflow_ppo_flavor.registry.contracts import Contract
from mlflow_ppo_flavor.registry.display import describe_version, own_text
from mlflow_ppo_flavor.registry.gate import Ruling, moved_references, rule, rule_unknown
from mlflow_ppo_flavor.registry.hearing import Hearing
from mlflow_ppo_flavor.registry.history import Occasion
from mlflow_ppo_flavor.registry.metrics import run_metrics
from mlflow_ppo_flavor.registry.notices import Notices
from mlflow_ppo_flavor.registry.resolution import CreateModel, CreateVersion, Operation, VersionKey, without_effect
from mlflow_ppo_flavor.registry.session import JoiningSessionMaker
from mlflow_ppo_flavor.registry.setting import Setting
from mlflow_ppo_flavor.registry.standing import Standing, next_version, read_standing
from mlflow_ppo_flavor.registry.write_lock import settle_writes

# A round fetches part of what the one before found lacking, and keeps it or, where it can't be kept, has it in hand.
_BATCH = 100
_ROUNDS = 1_000
_logger = logging.getLogger(__name__)


class Guard:
    """Rules on operations over one store's sessions. `workspace` gives the active workspace of the calling request,
    `clock` the time (ms since 1970).
    """

    def __init__(
        self,
        sessions: JoiningSessionMaker,
        workspace: Callable[[], str],
        setting: Setting,
        clock: Callable[[], int] = get_current_time_millis,
    ) -> None:
        self._sessions = sessions
        self._workspace = workspace
        self.setting = setting
        self.clock = clock

    def carry_out(self, operation: Operation, write: Callable[[], Any]) -> Any:
        """Rule on an operation and, where allowed, let MLflow write; 409 with every finding where it isn't."""
        return self.settle(operation.models, lambda hearing: self._decide(hearing, operation, write))

    def create_model(self, model: str, write: Callable[[], Any]) -> Any:
        """Let MLflow register a model, ruled on in the transaction in which it writes."""
        with self._sessions.beginning(lambda: self._registering(lambda _: CreateModel(model), model)):
            return write()

    def create_version(self, model: str, write: Callable[[], Any]) -> Any:
        """Let MLflow register a version, ruled on in the transaction in which it writes; before, it may fetch."""

        def numbered(session: Session) -> Operation:
            return CreateVersion(model, next_version(session, self._workspace(), model))

        with self._sessions.beginning(lambda: self._registering(numbered, model)):
            return write()

    @contextmanager
    def _registering(self, ask: Callable[[Session], Operation], model: str) -> Iterator[Session]:
        """A locked transaction for a registration; 409 where a reference that somebody set beforehand would load it."""
        with self.hearing((model,)) as hearing:
            operation, case = ask(hearing.session), hearing.open((model,))
            ruling = self._rule_registration(operation, case)
            if ruling is None or ruling.allowed:
                yield hearing.session
                return
            Clerk(hearing.session, hearing.occasion, self.setting).record(model, operation.to_dict(), ruling, case)
        raise refusal(ruling)

    def _rule_registration(self, operation: Operation, case: Case) -> Ruling | None:
        """The ruling on a registration, whose contract nobody has read yet; None where it is no matter."""
        unread = Contract.unknown("an alias named it before it was there: delete the alias, then register")
        known, policy = case.standing, self.setting.policy
        contracts = {VersionKey(operation.model, version): unread for version in operation.versions}
        if case.guarded:
            return rule(operation, known.models, contracts, known.fleet, policy=policy)
        return rule_unknown(operation, known.models, contracts, policy)

    def learn(self, model: str, version: int) -> None:
        """Read the contract of a version just registered. Where that fails it is read when it is first needed."""
        key = VersionKey(model, version)
        try:
            with self.transaction((model,)) as session:
                found = candidates.candidates(session, self._workspace(), [key])
            unread = [each.origin for each in found.values() if each.contract is None]
            for contract in self._read(unread).values():
                _logger.warning("The contract of %s version %s is read later: %s", model, version, contract.reason)
        except MlflowException as error:
            _logger.warning("The contract of %s version %s is read later: %s", model, version, error)

    def own_text(self, model: str, text: str | None) -> str | None:
        """A description as a client may set it: without what reads as the gate's block, where the model is guarded."""
        if not isinstance(text, str) or (own := own_text(text)) == text:
            return text
        with self._sessions() as session:
            standing = read_standing(session, self._workspace(), (model,))
        return own if self._is_guarded(standing, (model,)) else text

    def describe_model(self, model: str, text: str | None, write: Callable[[str | None], Any]) -> Any:
        """Let MLflow write a model's description: the client's text without what reads as the gate's block."""
        with self.transaction((model,)):
            return write(self.own_text(model, text))

    def describe(self, key: VersionKey, text: str | None, write: Callable[[str | None], Any]) -> Any:
        """Let MLflow write a version's description: the client's text, and the gate's block as it stands."""
        with self.transaction((key.model,)) as session:
            workspace = self._workspace()
            candidate = candidates.candidates(session, workspace, {key}).get(key)
            if candidate is not None and candidate.contract is not None and candidate.contract.spec is not None:
                verdict = Notices(session, workspace).verdict_of(key)
                return write(describe_version(text, candidate.contract, verdict, candidate.attested))
            return write(self.own_text(key.model, text))

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

    @contextmanager
    def hearing(self, names: Sequence[str], in_hand: InHand | None = None) -> Iterator[Hearing]:
        """A locked transaction in which one attempt is made."""
        with self.transaction(names) as session:
            occasion = Occasion(self.clock(), self._workspace(), history.requester())
            yield Hearing(session, occasion, self.setting, in_hand or InHand())

    def settle(self, names: Sequence[str], decide: Callable[[Hearing], Answer]) -> Any:
        """Attempt until nothing is lacking; 409 where the ruling is a refusal, which stands in the history by then."""
        in_hand = InHand()
        for _ in range(_ROUNDS):
            with self.hearing(names, in_hand) as hearing:
                answer = decide(hearing)
            if answer.ruling is not None and not answer.ruling.allowed:
                raise refusal(answer.ruling)
            if not answer.lack:
                return answer.result
            in_hand.contracts |= self._read(answer.lack.contracts)
            in_hand.metrics |= {run_id: run_metrics(run_id) for run_id in answer.lack.runs}
        raise MlflowException(
            f"Refused: new versions of {names[0]} keep appearing while the gate reads them: try again",
            error_code=RESOURCE_CONFLICT,
        )

    def _decide(self, hearing: Hearing, operation: Operation, write: Callable[[], Any]) -> Answer:
        case = hearing.open(operation.models, operation.versions)
        moves = moved_references(operation, case.standing.models, case.standing.fleet, self.setting.policy)
        needed = {move.after for move in moves if move.after is not None}
        if not case.guarded:
            if not needed and without_effect(case.standing.models, operation) is None:
                return Answer(write())
            unread = self._unread(hearing, operation.models)
            if unread:
                return Answer(lack=Lack(contracts=unread))
        case = hearing.call(case, needed)
        if case.lack:
            return Answer(lack=case.lack)
        if not case.guarded:
            return self._decide_unknown(hearing, operation, write, case)
        case = hearing.examine(case, moves)
        repeated = None if moves or case.lack else adoption.judge_repeated(hearing, case, operation)
        lack = case.lack or (repeated.case.lack if repeated is not None else case.lack)
        if lack:
            return Answer(lack=lack)
        answer = self.conclude(hearing, operation, write, case)
        if repeated is not None:
            repeated.file(hearing)
        return answer

    def conclude(self, hearing: Hearing, operation: Operation, write: Callable[[], Any], case: Case) -> Answer:
        """Rule on an operation on guarded models of which all is known, let MLflow write, and file it."""
        ruling = self._rule(hearing, operation, case)
        result = write() if ruling.allowed else None
        Clerk(hearing.session, hearing.occasion, self.setting).file(operation, ruling, case)
        return Answer(result, ruling)

    def _rule(self, hearing: Hearing, operation: Operation, case: Case) -> Ruling:
        """The ruling; where it would be a refusal, with the overrides that were given."""
        known, who = case.standing, hearing.occasion.who

        def ask(evidence: Any) -> Ruling:
            terms = {"policy": self.setting.policy, "evidence": evidence, "requester": who}
            return rule(operation, known.models, case.contracts, known.fleet, **terms)

        ruling = ask(case.evidence)
        pleaded = None if ruling.allowed else hearing.plead(case, ruling.moves)
        return ruling if pleaded is None else ask(pleaded.evidence)

    def _decide_unknown(self, hearing: Hearing, operation: Operation, write: Callable[[], Any], case: Case) -> Answer:
        """An operation on a model that, as far as anybody knows, isn't guarded: it is recorded only where refused."""
        ruling = rule_unknown(operation, case.standing.models, case.contracts, self.setting.policy)
        if ruling is None:
            return Answer(write())
        clerk = Clerk(hearing.session, hearing.occasion, self.setting)
        clerk.record(operation.model, operation.to_dict(), ruling, case)
        return Answer(None, ruling)

    def _is_guarded(self, standing: Standing, names: Sequence[str]) -> bool:
        return standing.flavored or bool(standing.fleet) or any(self.setting.policy.names(name) for name in names)

    def _unread(self, hearing: Hearing, names: Sequence[str]) -> list[Origin]:
        most = _BATCH + len(hearing.in_hand.contracts)
        found = candidates.unread(hearing.session, hearing.occasion.workspace, names, most)
        return [origin for origin in found if origin not in hearing.in_hand.contracts]

    def _read(self, unread: Sequence[Origin]) -> dict[Origin, Contract]:
        """Read a batch of contracts, up to the first that has the flavor: it makes its model guarded.

        What is known is kept; what isn't is returned, for the ruling in hand alone: the next one reads it again.
        """
        found: dict[Origin, Contract] = {}
        for origin in unread[:_BATCH]:
            found[origin] = read_contract(origin.location)
            if found[origin].flavored:
                break
        known = {origin: contract for origin, contract in found.items() if contract.known}
        if known:
            self.keep_contracts(known)
        return {origin: contract for origin, contract in found.items() if not contract.known}

    def keep_contracts(self, known: Mapping[Origin, Contract]) -> None:
        """Keep the contracts of versions that are still there, and write what their pages show."""
        with self.transaction(sorted({origin.key.model for origin in known})) as session:
            self._keep(session, known)
        settle_writes()

    def _keep(self, session: Session, known: Mapping[Origin, Contract]) -> None:
        workspace, notices = self._workspace(), Notices(session, self._workspace())
        present = candidates.candidates(session, workspace, [origin.key for origin in known])
        models = {origin.key.model for origin in known}
        guarded = {model for model in models if candidates.is_flavored(session, workspace, model)}
        for origin, contract in known.items():
            candidate, model = present.get(origin.key), origin.key.model
            if candidate is None or candidate.origin != origin:
                continue
            if contract.flavored and model not in guarded:
                notices.clear_model(model)
                guarded.add(model)
            candidates.keep(session, workspace, origin, contract)
            if model in guarded:
                notices.clear_verdict(origin.key)
                notices.introduce(candidate, contract, verdict="")
