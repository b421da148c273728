"""The client's side of the fleet: a trader tells the registry what it loads and reproduced, takes its answer, and asks
for its verdicts.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from mlflow import MlflowClient, get_registry_uri, get_tracking_uri
from mlflow.exceptions import MlflowException
from packaging.version import Version

from mlflow_ppo_flavor.contract import parsing
from mlflow_ppo_flavor.contract.digest import canonical_json
from mlflow_ppo_flavor.contract.masking import masked, passwords
from mlflow_ppo_flavor.contract.packages import installed_versions
from mlflow_ppo_flavor.contract.reference import Reference
from mlflow_ppo_flavor.contract.releases import CURRENT_TRADER_VERSION
from mlflow_ppo_flavor.contract.request import REPORT_TAG, Question
from mlflow_ppo_flavor.contract.seal import Seal
from mlflow_ppo_flavor.contract.trader import Announcement, Attestation, Trader
from mlflow_ppo_flavor.decision.installation import equipped
from mlflow_ppo_flavor.errors import PromotionRefused, RegistryError, SpecError
from mlflow_ppo_flavor.model.reproduction import Reproduction

ANNOUNCE_TAG = "ppo.announce"
"""The registered-model tag that carries an announcement; the registry's gate reads it and doesn't keep it."""
ATTEST_TAG = "ppo.attest"
"""The tag of a version that carries an attestation; the registry's gate reads it and doesn't keep it."""
_PACKAGES = ("mlflow-ppo-flavor", "mlflow", "numpy", "numba", "torch")
_CONFLICT = 409
# MLflow may answer with whole statements and pages
_LONGEST_REASON = 400


def _now() -> datetime:
    return datetime.now(UTC)


def announce_trader(
    model: str,
    *,
    trader_id: str,
    reference: str,
    trader_version: str = CURRENT_TRADER_VERSION,
    paper: bool = True,
    clock: Callable[[], datetime] = _now,
) -> Announcement:
    """Tell the registry that this trader loads `reference` (`Production`, `Staging` or `@alias`) of a registered model.

    The model is created if it isn't there: one announces for an empty reference too. `trader_version` below the
    installed one lowers what the trader computes to that release's, own packages stay; above it is a SpecError, as are
    a bad id or reference. On a registry without the gate it warns: nobody reads the announcement. PromotionRefused,
    with the gate's findings, where the present model can't serve this trader; RegistryError where the registry can't be
    reached or answers otherwise.
    """
    said = {
        "trader": _trader(trader_id, trader_version, paper=paper).to_dict(),
        "reference": {"model": model, "label": reference},
        "announced_at": clock().isoformat(),
        "packages": installed_versions(_PACKAGES),
    }
    announcement = Announcement.from_dict(said)
    value = canonical_json(announcement.to_dict()).decode()

    def write(client: MlflowClient) -> bool:
        try:
            client.set_registered_model_tag(model, ANNOUNCE_TAG, value)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            _create(client, model)
            client.set_registered_model_tag(model, ANNOUNCE_TAG, value)
        return ANNOUNCE_TAG in client.get_registered_model(model).tags

    place, otherwise = f"{announcement.reference}", "promotions are not checked"
    _send(f"{place}: not announced", place, "announcement", otherwise, write)
    return announcement


def attest(
    model: str,
    version: int | str,
    reproduction: Reproduction,
    *,
    trader_id: str,
    trader_version: str = CURRENT_TRADER_VERSION,
    clock: Callable[[], datetime] = _now,
) -> Attestation:
    """Tell the registry that this trader reproduced the golden decisions of a registered version.

    `reproduction` is what `verify_model` found in a copy of it: it carries the digest. SpecError for one that didn't
    pass every stage, and for a trader that can't be. On a registry without the gate it warns: nobody counts the
    attestation. PromotionRefused where the version isn't what was replayed; RegistryError where the registry can't be
    reached, doesn't have the version or answers otherwise.
    """
    _check_passed(reproduction)
    trader = _trader(trader_id, trader_version)
    said = {
        "trader_id": trader.trader_id,
        "trader_version": trader.version,
        "digest": reproduction.digest,
        "attested_at": clock().isoformat(),
        "packages": {**installed_versions(_PACKAGES), **trader.packages},
    }
    attestation = Attestation.from_dict(said)
    value = canonical_json(attestation.to_dict()).decode()

    def write(client: MlflowClient) -> bool:
        client.set_model_version_tag(model, str(version), ATTEST_TAG, value)
        return ATTEST_TAG in client.get_model_version(model, str(version)).tags

    place = f"{model} version {version}"
    _send(f"{place}: not attested", place, "attestation", "nobody counts it", write)
    return attestation


def fetch_seal(reference: Reference) -> Seal | None:
    """The registry's seal on what a reference loads: read, not verified. None where it has none, which is also what a
    registry without the gate answers.

    SpecError for one that can't be read; RegistryError where the registry can't be reached or answers otherwise.
    """
    answers = ask(Question("verdict", reference=reference.label), reference.model, f"{reference}: no verdict fetched")
    told = answers.get(reference.model, {})
    if not isinstance(told, dict):
        raise SpecError(REPORT_TAG, parsing.show(told), "a mapping of references to seals")
    found = told.get(reference.label)
    return None if found is None else Seal.from_dict(found, f"{REPORT_TAG}.{reference.label}")


def ask(question: Question, model: str | None = None, asked: str = "registry") -> dict[str, Any]:
    """What the gate answers to a question: {model: JSON value}, of every model or of one; nothing without a gate.

    `asked` begins what RegistryError says, where the registry can't be reached or refuses to answer. SpecError for an
    answer that is no JSON.
    """
    return dict(answers(question, model, asked))


def answers(
    question: Question, model: str | None = None, asked: str = "registry", *, page_size: int = 100
) -> Iterator[tuple[str, Any]]:
    """The same, model by model as the registry gives them: so many in a request."""
    token, client = None, MlflowClient()
    while True:
        with answering(asked, "look whether the tracking and registry URI are right, and the server up"):
            page = client.search_registered_models(_filter(question, model), max_results=page_size, page_token=token)
        for each in page:
            if REPORT_TAG in each.tags:
                told = parsing.json_text(each.tags[REPORT_TAG], REPORT_TAG, expected="the gate's answer")
                # where a model's name can't stand in a filter, all are asked
                if model in (None, each.name):
                    yield each.name, told
        token = page.token
        if not token:
            return


def _filter(question: Question, model: str | None) -> str:
    """The search that asks; of one model where its name can stand in a filter, else of all."""
    quote = next((mark for mark in ("'", '"') if mark not in (model or "")), None)
    if model is None or quote is None:
        return question.filter_string
    return f"name = {quote}{model}{quote} AND {question.filter_string}"


def _check_passed(reproduction: object) -> None:
    """Refuse what isn't the reproduction of a stored model that passed every stage."""
    if isinstance(reproduction, Reproduction) and reproduction.reproduced and reproduction.digest:
        return
    found = parsing.show(reproduction)
    if isinstance(reproduction, Reproduction):
        found = f"one that differs in {reproduction.differs}" if reproduction.differs else "one of no stored model"
    remedy = "replay a copy of the version with verify_model"
    raise SpecError("reproduction", found, "a Reproduction that passed every stage", remedy)


def _trader(trader_id: str, version: str, *, paper: bool = True) -> Trader:
    """The trader of that version with what is installed here; SpecError for a version above the installed one."""
    if Version(parsing.version(version, "trader_version")) > Version(CURRENT_TRADER_VERSION):
        expected, remedy = f"at most {CURRENT_TRADER_VERSION}, which is installed", "upgrade mlflow-ppo-flavor"
        raise SpecError("trader_version", version, expected, f"{remedy}: a version can't be claimed")
    return equipped(Trader.released(version, trader_id=trader_id, paper=paper))


def _send(asked: str, place: str, what: str, otherwise: str, write: Callable[[MlflowClient], bool]) -> None:
    """Write a tag for the gate; `write` tells whether the registry kept it, which a gate wouldn't: then it warns of
    `otherwise`.
    """
    with answering(asked, "look whether the tracking and registry URI are right, and the server up"):
        kept = write(MlflowClient())
    if kept:
        warnings.warn(
            f"{place}: the registry kept the {what} as a plain tag, expected its gate to read it: "
            f"start the server with --registry-store-uri ppo:<database URI>, or {otherwise}",
            stacklevel=3,
        )


def _create(client: MlflowClient, model: str) -> None:
    """Create a registered model; another trader may have been faster."""
    try:
        client.create_registered_model(model)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


@contextmanager
def answering(asked: str, remedy: str = "") -> Iterator[None]:
    """MLflow's errors as ours: PromotionRefused with the gate's findings for a conflict, RegistryError otherwise.

    `asked` begins what RegistryError says, and `remedy` ends it; passwords in what MLflow says are masked.
    """
    try:
        yield
    except MlflowException as error:
        reason = error.message.removeprefix(f"{error.error_code}: ")
        if error.get_http_status_code() != _CONFLICT:
            # cut after: half a URI would hide where its password ends
            told = masked(reason, passwords((get_tracking_uri(), get_registry_uri())))
            short = told if len(told) <= _LONGEST_REASON else told[:_LONGEST_REASON] + "…"
            raise RegistryError(": ".join(filter(None, (asked, short, remedy)))) from error
        # a refusal arrives as JSON through a server, as keyword arguments from a store in this process
        findings = (getattr(error, "json", None) or error.json_kwargs).get("findings")
        raise PromotionRefused(reason, findings if isinstance(findings, list) else ()) from error
