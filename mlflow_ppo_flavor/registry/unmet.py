"""Unmet: the policy's terms that what stands doesn't meet today. Approvals aside: they are of a move, and used up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session

from mlflow_ppo_flavor.contract.compatibility import Finding
from mlflow_ppo_flavor.contract.trader import Attestation, Trader
from mlflow_ppo_flavor.registry import kept
from mlflow_ppo_flavor.registry.conditions import judge_terms
from mlflow_ppo_flavor.registry.evidence import UNAUTHENTICATED, Evidence
from mlflow_ppo_flavor.registry.metrics import run_metrics
from mlflow_ppo_flavor.registry.mlflow_tables import TAGS
from mlflow_ppo_flavor.registry.policy import Policy
from mlflow_ppo_flavor.registry.resolution import VersionKey
from mlflow_ppo_flavor.registry.snapshot import Held, Version, chunks
from mlflow_ppo_flavor.registry.tables import ATTESTATIONS

_THREADS = 16


@dataclass(frozen=True, slots=True)
class Known:
    """What was gathered of versions for the terms that ask for it: tags, run metrics, who attested which digest.

    `damaged`: of each version, those attestations that can't be read.
    """

    tags: Mapping[VersionKey, Mapping[str, str]] = field(default_factory=dict)
    metrics: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    attested: Mapping[VersionKey, Sequence[Attestation]] = field(default_factory=dict)
    damaged: Mapping[VersionKey, Sequence[Finding]] = field(default_factory=dict)


def gather(session: Session, workspace: str, held: Iterable[Held], policy: Policy) -> Known:
    """What the policy asks for, of those versions of which it asks: few queries; metrics of the tracking store."""
    asked = [(each.version, policy.terms(each.reference)) for each in held if each.version is not None]
    tagged = {version.key for version, terms in asked if terms.required_tags}
    present = {version.key for version, _ in asked}
    runs = {version.run_id for version, terms in asked if terms.metrics and version.run_id}
    attested, damaged = _attestations(session, workspace, present)
    return Known(_tags(session, workspace, tagged), _metrics(runs), attested, damaged)


def unmet(held: Held, version: Version, policy: Policy, known: Known, traders: Sequence[Trader]) -> list[Finding]:
    """The findings of the terms that a version doesn't meet where it stands."""
    terms = replace(policy.terms(held.reference), approvals=0)
    digest = "" if version.contract is None else version.contract.digest
    said = (each for each in known.attested.get(version.key, ()) if policy.lets_announce(each.trader_id))
    attested = {each.trader_version for each in said if each.digest == digest}
    metrics, tags = known.metrics.get(version.run_id, {}), known.tags.get(version.key, {})
    return judge_terms(held.reference, terms, Evidence(metrics, tags, frozenset(attested)), traders, UNAUTHENTICATED)


def _tags(session: Session, workspace: str, keys: Iterable[VersionKey]) -> dict[VersionKey, dict[str, str]]:
    found: dict[VersionKey, dict[str, str]] = {}
    query = select(TAGS.c.name, TAGS.c.version, TAGS.c.key, TAGS.c.value).where(TAGS.c.workspace == workspace)
    for part in chunks(sorted(keys)):
        here = tuple_(TAGS.c.name, TAGS.c.version).in_([(key.model, key.version) for key in part])
        for name, version, key, value in session.execute(query.where(here)):
            found.setdefault(VersionKey(name, version), {})[key] = value or ""
    return found


def _metrics(runs: Iterable[str]) -> dict[str, Mapping[str, float]]:
    wanted = sorted(runs)
    if not wanted:
        return {}
    with ThreadPoolExecutor(min(_THREADS, len(wanted)), thread_name_prefix="mlflow-ppo-metrics") as pool:
        running = {run: pool.submit(copy_context().run, run_metrics, run) for run in wanted}
    return {run: each.result() for run, each in running.items()}


def _attestations(
    session: Session, workspace: str, keys: Iterable[VersionKey]
) -> tuple[dict[VersionKey, list[Attestation]], dict[VersionKey, list[Finding]]]:
    found: dict[VersionKey, list[Attestation]] = {}
    damaged: dict[VersionKey, list[Finding]] = {}
    table: Any = ATTESTATIONS.c
    query = select(table.model, table.version, table.trader_id, table.attestation).where(table.workspace == workspace)
    for part in chunks(sorted(keys)):
        here = tuple_(table.model, table.version).in_([(key.model, key.version) for key in part])
        for row in session.execute(query.where(here)).mappings():
            key, read = VersionKey(row["model"], row["version"]), kept.attestation(row)
            if isinstance(read, Finding):
                damaged.setdefault(key, []).append(read)
            else:
                found.setdefault(key, []).append(read)
    return found, damaged
