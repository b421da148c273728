"""Differences: how what lies in the artifact store now differs from what the gate keeps of a version."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from mlflow.exceptions import MlflowException

from mlflow_ppo_flavor.contract.compatibility import Finding
from mlflow_ppo_flavor.contract.digest import sha256_hex
from mlflow_ppo_flavor.registry.contracts import Contract
from mlflow_ppo_flavor.registry.folders import folder_of, freezes
from mlflow_ppo_flavor.registry.reread import Reread
from mlflow_ppo_flavor.registry.snapshot import Version

_RESTORE = "register the model anew and promote that"
_REVERIFY = "run mlflow-ppo reverify on the version"


def artifact_findings(label: str, version: Version, now: Reread) -> Iterator[Finding]:
    """How what lies in the artifact store differs from what was registered."""
    place, registered = f"{label}, version {version.key.version}", version.contract
    if not now.contract.known:
        yield Finding("unread", "safety", place, now.contract.reason, "a trader reads it there too", _RESTORE)
        return
    if registered is not None and registered.known:
        yield from _contract_findings(place, registered, now.contract)
    for name, why in now.changed:
        yield Finding("file", "safety", f"{place}, {name}", why, "MLmodel lists another", _RESTORE)
    for each in now.strange:
        yield replace(each, place=f"{place}, {each.place}" if each.place else place)
    if registered is not None and registered.root and now.root and not _is_same_folder(registered.root, now.root):
        found, expected = f"the folder {registered.root}", f"its location leads to {now.root}"
        yield Finding("record_changed", "safety", place, found, expected, _REVERIFY)


def _is_same_folder(kept: str, found: str) -> bool:
    """Whether both are one folder. A process without this artifact repository names a folder in it otherwise: only a
    server that freezes it can judge all texts.
    """
    if not freezes():
        return kept == found or any(each.startswith("mlflow-artifacts:") for each in (kept, found))
    try:
        return kept == found or (kept.startswith("file:///") and folder_of(kept) == found)
    except (MlflowException, ValueError):
        # no path
        return False


def _contract_findings(place: str, registered: Contract, now: Contract) -> Iterator[Finding]:
    if now.digest != registered.digest:
        found = f"digest {now.digest[:12]}…" if now.digest else now.reason
        expected = (
            f"{registered.digest[:12]}… was registered" if registered.digest else "it had none when it was registered"
        )
        yield Finding("digest", "safety", place, found, expected, _RESTORE)
    elif registered.damage is None and now != registered:
        found, expected = "a contract that differs from its digest's", "the guard's own row was changed"
        yield Finding("record_changed", "safety", place, found, expected, _REVERIFY)
    elif (
        registered.damage is None
        and registered.flavors
        and sha256_hex(registered.flavors.encode("utf-8")) != registered.digest
    ):
        found, expected = "flavors that aren't its digest's", "the guard's own row was changed"
        yield Finding("record_changed", "safety", place, found, expected, _REVERIFY)
