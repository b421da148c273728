"""The check of a verdict's seal: whether the registry itself let a reference load what it loads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from mlflow_ppo_flavor.announcement import fetch_seal
from mlflow_ppo_flavor.contract.compatibility import Finding, Kind
from mlflow_ppo_flavor.contract.keys import VerifyingKeys
from mlflow_ppo_flavor.contract.reference import Reference
from mlflow_ppo_flavor.contract.seal import Seal, SealedVerdict
from mlflow_ppo_flavor.errors import SpecError

NO_VERDICT = "no_verdict"
VERDICT_CODES = (
    *(NO_VERDICT, "no_digest", "verdict_key", "verdict_signature"),
    *("verdict_registry", "verdict_mismatch", "verdict_sequence"),
)
"""The codes of what is found here: all of it is about the verdict, none about the model's files."""
_PLACE = "verdict"
_FORGED = "don't trade it: look who wrote to the registry's database (`mlflow-ppo audit`)"
_PROMOTE = (
    "move it through the registry's gate (`mlflow-ppo promote`), or let `mlflow-ppo guard install URI --adopt` sign it"
)


@dataclass(frozen=True, slots=True)
class SealTerms:
    """The keys that this trader knows its registry by, and whether it trades nothing without a valid verdict.

    Without keys nothing is asked. With keys and without `required`, a missing verdict is a warning; one that is there
    and isn't valid is refused all the same: somebody made it. `workspace`: the one that the trader was told to ask for.
    """

    keys: VerifyingKeys
    required: bool
    workspace: str | None = None


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found of a version's verdict; `verdict` is the valid one, None where there is none."""

    findings: tuple[Finding, ...] = ()
    verdict: SealedVerdict | None = None

    @property
    def refused(self) -> bool:
        """Whether a finding doesn't allow it."""
        return any(finding.kind == "safety" for finding in self.findings)


class SealCheck:
    """Checks the verdict on what a reference loads, and remembers the newest one of each reference.

    `known` are those that the journal remembers; `fetch` gets the seal of a reference, and raises SpecError for one
    that can't be read and RegistryError where the registry can't be asked.
    """

    def __init__(
        self,
        terms: SealTerms,
        known: Iterable[SealedVerdict] = (),
        fetch: Callable[[Reference], Seal | None] = fetch_seal,
    ) -> None:
        self._terms, self._fetch = terms, fetch
        self._known = {verdict.reference: verdict for verdict in known}

    def check(self, reference: Reference, version: int, digest: str | None) -> Checked:
        """What this trader finds of the verdict on a version of this digest, which the registry tells of it (None where
        it tells none). RegistryError where it can't be asked.
        """
        if not self._terms.keys:
            return Checked()
        try:
            seal = self._fetch(reference)
        except SpecError as error:
            expected = "expected a seal of this trader's format"
            return Checked((Finding("verdict_signature", "safety", _PLACE, str(error), expected, _FORGED),))
        findings = [*_digest_findings(digest, self._terms), *self._seal_findings(seal, reference, version, digest)]
        checked = Checked(tuple(findings), None if seal is None else seal.verdict)
        if seal is None or checked.refused:
            return Checked(checked.findings)
        self._known[reference] = seal.verdict
        return checked

    def _seal_findings(
        self, seal: Seal | None, reference: Reference, version: int, digest: str | None
    ) -> list[Finding]:
        if seal is None:
            kind: Kind = "safety" if self._terms.required else "warning"
            found, expected = "none", f"expected one that the registry signed for {reference} version {version}"
            return [Finding(NO_VERDICT, kind, _PLACE, found, expected, _PROMOTE)]
        fault = _signature_finding(seal, self._terms.keys)
        if fault is not None:
            # what nobody signed says nothing
            return [fault]
        asked = {"model": reference.model, "label": reference.label, "version": version}
        asked |= {} if digest is None else {"digest": digest}
        asked |= {} if self._terms.workspace is None else {"workspace": self._terms.workspace}
        return [*_mismatches(seal.verdict, asked), *_memory_findings(seal.verdict, self._known)]


def _digest_findings(digest: str | None, terms: SealTerms) -> Iterator[Finding]:
    if digest is None and terms.required:
        found, expected = "no tag ppo.digest on the version", "expected the one that the registry's gate writes"
        remedy = "start the server with its gate, then `mlflow-ppo reverify`"
        yield Finding("no_digest", "safety", "digest", found, expected, remedy)


def _signature_finding(seal: Seal, keys: VerifyingKeys) -> Finding | None:
    if keys.find(seal.key_id) is None:
        known = ", ".join(key.key_id for key in keys.keys)
        remedy = "give the registry's public key with --verdict-key if it has a new one; if not, don't trade it"
        expected = f"this trader knows {known}"
        return Finding("verdict_key", "safety", _PLACE, f"one signed with key {seal.key_id}", expected, remedy)
    fault = keys.fault(seal)
    if not fault:
        return None
    found, expected = f"a signature that key {seal.key_id} didn't make", "expected one over exactly this verdict"
    return Finding("verdict_signature", "safety", _PLACE, found, expected, _FORGED)


def _mismatches(verdict: SealedVerdict, asked: Mapping[str, object]) -> Iterator[Finding]:
    """Where a signed verdict speaks of something else than what is loaded."""
    for name, loaded in asked.items():
        sealed = getattr(verdict, name)
        if sealed != loaded:
            place, expected = f"{_PLACE}.{name}", f"what is loaded has {loaded}"
            yield Finding("verdict_mismatch", "safety", place, str(sealed), expected, _FORGED)


def _memory_findings(verdict: SealedVerdict, known: Mapping[Reference, SealedVerdict]) -> Iterator[Finding]:
    """Where a signed verdict contradicts what this trader has seen before."""
    for other in known.values():
        if other.registry != verdict.registry:
            place, expected = f"{_PLACE}.registry", f"this trader's journal knows {other.registry}"
            remedy = "trade another registry's models from another --state-dir"
            yield Finding("verdict_registry", "safety", place, verdict.registry, expected, remedy)
            break
    last = known.get(verdict.reference)
    if last is None or last.registry != verdict.registry:
        return
    if last.workspace != verdict.workspace:
        place, expected = f"{_PLACE}.workspace", f"this trader's journal knows {last.workspace}"
        remedy = "trade another workspace's models from another --state-dir"
        yield Finding("verdict_mismatch", "safety", place, verdict.workspace, expected, remedy)
    elif _is_older(verdict, last):
        place, found = f"{_PLACE}.sequence", f"{verdict.sequence} (version {verdict.version})"
        expected = f"this trader has seen {last.sequence} (version {last.version})"
        yield Finding("verdict_sequence", "safety", place, found, expected, _FORGED)


def _is_older(verdict: SealedVerdict, last: SealedVerdict) -> bool:
    """Whether a verdict came before the last one; one number is never given twice."""
    if verdict.sequence != last.sequence:
        return verdict.sequence < last.sequence
    return (verdict.version, verdict.digest) != (last.version, last.digest)
