"""Installation: an existing registry made known to the gate. Its contracts are read; what stands is judged, adopted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from contextvars import copy_context
from dataclasses import dataclass, replace

from mlflow.environment_variables import MLFLOW_ENABLE_WORKSPACES
from mlflow.utils.time import get_current_time_millis
from mlflow.utils.workspace_context import WorkspaceContext
from mlflow.utils.workspace_utils import DEFAULT_WORKSPACE_NAME
from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from mlflow_ppo_flavor.contract.compatibility import Finding
from mlflow_ppo_flavor.contract.digest import canonical_json
from mlflow_ppo_flavor.contract.request import MOST_ROWS, Question
from mlflow_ppo_flavor.registry import chain, records, sealed, verdicts
from mlflow_ppo_flavor.registry.artifacts import read_contract
from mlflow_ppo_flavor.registry.audit import is_fine
from mlflow_ppo_flavor.registry.candidates import SAME_VERSION, Origin
from mlflow_ppo_flavor.registry.contracts import Contract
from mlflow_ppo_flavor.registry.history import Occasion
from mlflow_ppo_flavor.registry.mlflow_tables import LOCATION, MODELS, STAGE_DELETED, VERSIONS
from mlflow_ppo_flavor.registry.rejudging import findings_of
from mlflow_ppo_flavor.registry.report import names
from mlflow_ppo_flavor.registry.resolution import VersionKey
from mlflow_ppo_flavor.registry.setting import Setting
from mlflow_ppo_flavor.registry.snapshot import Held, Snapshot, chunks, snapshots
from mlflow_ppo_flavor.registry.store import GuardMixin
from mlflow_ppo_flavor.registry.tables import CONTRACTS, HISTORY
from mlflow_ppo_flavor.registry.unmet import gather
from mlflow_ppo_flavor.registry.verdicts import Loading

_THREADS = 16
# versions that are read and kept at once: a transaction's length
_BATCH = 200
_OPERATOR = "mlflow-ppo guard install"


@dataclass(frozen=True, slots=True)
class Standing:
    """A protected reference of an existing registry, and what is wrong with what it loads."""

    held: Held
    findings: tuple[Finding, ...]

    @property
    def allowed(self) -> bool:
        """Whether the gate would let it load that today."""
        return is_fine(self.findings)


def workspaces(store: GuardMixin) -> list[str]:
    """The workspaces of a registry that have models; the default one where workspaces aren't enabled."""
    if not MLFLOW_ENABLE_WORKSPACES.get():
        return [DEFAULT_WORKSPACE_NAME]
    with store.ManagedSessionMaker() as session:
        return sorted(session.execute(select(MODELS.c.workspace).distinct()).scalars())


def within(workspace: str) -> AbstractContextManager[object]:
    """What is done in this block is done in a workspace."""
    return WorkspaceContext(workspace) if MLFLOW_ENABLE_WORKSPACES.get() else nullcontext()


def unread(store: GuardMixin, workspace: str) -> list[Origin]:
    """Every version whose contract hasn't been read, the newest of each model first."""
    v = VERSIONS.c
    query = select(v.name, v.version, v.creation_time, LOCATION)
    query = query.select_from(VERSIONS.outerjoin(CONTRACTS, SAME_VERSION))
    query = query.where(v.workspace == workspace, v.current_stage != STAGE_DELETED, CONTRACTS.c.version.is_(None))
    with store.ManagedSessionMaker() as session:
        rows = session.execute(query.order_by(v.name, v.version.desc())).all()
    return [Origin(VersionKey(name, version), created or 0, location) for name, version, created, location in rows]


def read_all(store: GuardMixin, origins: Sequence[Origin], advance: Callable[[int], None]) -> dict[Origin, Contract]:
    """Read and keep these contracts, each location once a batch; those that can't be known are returned, and why.

    `advance` is told how many more are done.
    """
    failed: dict[Origin, Contract] = {}
    for batch in chunks(origins, _BATCH):
        found = _read({origin.location for origin in batch})
        known = {origin: found[origin.location] for origin in batch if found[origin.location].known}
        if known:
            store.keep_contracts(known)
        failed |= {origin: found[origin.location] for origin in batch if origin not in known}
        advance(len(batch))
    return failed


def _read(locations: set[str]) -> dict[str, Contract]:
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="mlflow-ppo-read") as pool:
        running = {where: pool.submit(copy_context().run, read_contract, where) for where in sorted(locations)}
    return {where: each.result() for where, each in running.items()}


def standings(store: GuardMixin, workspace: str) -> list[Standing]:
    """Every protected reference of the guarded models, judged by today's fleet and policy; of other models those that
    load what hasn't been read: nobody can tell whether they are guarded, and the gate lets nothing unknown in.
    """
    policy = store.setting.policy
    with store.ManagedSessionMaker() as session:
        guarded = set(names("standing", session, workspace, policy))
        models = names("audit", session, workspace, policy)
        judged = [each for _, found in _judged(session, workspace, models, store.setting) for each in found]
    return [each for each in judged if each.held.reference.model in guarded or _is_unread(each.held)]


def adopt(store: GuardMixin, workspace: str) -> list[Standing]:
    """Write a verdict, sealed where there is a key, on each reference that loads what is allowed and has none that says
    so. What already has one is left as it is: adopting twice changes nothing.
    """
    setting, adopted = store.setting, []
    occasion = Occasion(get_current_time_millis(), workspace, _OPERATOR)
    with store.ManagedSessionMaker() as session:
        models = names("standing", session, workspace, setting.policy)
    for part in chunks(models, _BATCH):
        with store.ManagedSessionMaker.transaction(part) as session:
            chains = chain.read_chains(session, workspace, part)
            for snapshot, found in _judged(session, workspace, part, setting):
                due = [each for each in found if each.allowed and not _is_ruled(each.held, setting, workspace, chains)]
                if due:
                    _write(session, occasion, setting, snapshot.model, due)
                adopted += due
    return adopted


def _is_unread(held: Held) -> bool:
    return held.version is not None and held.version.contract is None


def _judged(
    session: Session, workspace: str, models: Sequence[str], setting: Setting
) -> Iterator[tuple[Snapshot, list[Standing]]]:
    question = Question("standing", limit=MOST_ROWS)
    for part in chunks(models):
        waiting = snapshots(session, workspace, part, setting.policy, question)
        known = gather(session, workspace, (held for each in waiting for held in each.held), setting.policy)
        while waiting:
            snapshot = waiting.pop(0)
            judged = [
                Standing(held, () if held.version is None else findings_of(held, held.version, setting.policy, known))
                for held in snapshot.held
            ]
            yield snapshot, judged
            if snapshot.next is not None:
                after = replace(question, after=snapshot.next)
                waiting[:0] = snapshots(session, workspace, [snapshot.model], setting.policy, after)


def _is_ruled(held: Held, setting: Setting, workspace: str, chains: chain.Chains) -> bool:
    """Whether the last verdict on a reference is on what it loads and on the last move in the history, with a good
    seal where there is a key.
    """
    if held.last is None:
        return held.version is None
    if chain.chain_finding(held, chains) is not None:
        return False
    unsealed = sealed.last_findings(held, sealed.Notary.of(setting, workspace))
    return not [*records.verdict_findings(held, strict=True), *unsealed]


def _write(session: Session, occasion: Occasion, setting: Setting, model: str, due: Sequence[Standing]) -> None:
    loadings = [_loading(each.held) for each in due]
    last = {each.held.reference: each.held.last.sequence for each in due if each.held.last is not None}
    verdicts.append(session, occasion, setting, loadings, last)
    loads = ", ".join(f"{each.held.reference.label} loads {_version(each.held)}" for each in due[:20])
    more = f" and {len(due) - 20} more" if len(due) > 20 else ""
    row = {
        "at": occasion.at,
        "workspace": occasion.workspace,
        "who": occasion.who,
        "model": model,
        "operation": _json({"kind": "adopt", "references": [each.held.reference.label for each in due]}),
        "allowed": True,
        "fact": f"Adopted as it stands: {loads}{more}",
        **dict.fromkeys(("moves", "fleet", "findings"), "[]"),
        "digests": _json({str(each.reference): each.digest for each in loadings}),
    }
    session.execute(insert(HISTORY), row)


def _loading(held: Held) -> Loading:
    version = held.version
    if version is None or version.contract is None:
        return Loading(held.reference)
    return Loading(held.reference, Origin(version.key, version.created, version.location), version.contract.digest)


def _version(held: Held) -> str:
    return "nothing" if held.version is None else f"version {held.version.key.version}"


def _json(value: object) -> str:
    return canonical_json(value).decode("utf-8")
