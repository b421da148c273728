"""`mlflow-ppo import`: checkpoints of this protocol, legacy ones and models of stable-baselines3 become versions."""

from __future__ import annotations

import getpass
import json
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlflow_ppo_flavor.cli.connection import answering, connect, registry_options
from mlflow_ppo_flavor.cli.report import format_option, one_line, print_json, print_verdict
from mlflow_ppo_flavor.contract.compatibility import Finding
from mlflow_ppo_flavor.contract.digest import model_digest
from mlflow_ppo_flavor.contract.releases import spec_named
from mlflow_ppo_flavor.contract.spec import ADJUSTMENTS, TIMEFRAMES, ModelSpec
from mlflow_ppo_flavor.contract.vouch import Vouch
from mlflow_ppo_flavor.errors import IncompatibleModel, SpecError

if TYPE_CHECKING:
    from mlflow_ppo_flavor.model.foreign.candidate import Candidate, Options

Refused = list[tuple[str, tuple[Finding, ...]]]
_ARTIFACT = "policy"
_LARGEST_SPEC = 2**22
_NEXT = (
    "unproven: no golden decisions came with it, so traders with real money refuse it. Next: record a golden file with "
    'the code that trained it and import with --golden FILE; or answer for it yourself with --vouch "reason"'
)


@click.command(name="import")
@click.argument("files", metavar="FILE…", nargs=-1, required=True)
@click.option("--name", required=True, help="The registered model that each file becomes a version of.")
@click.option("--as", "as_version", metavar="VERSION", help="Choose among specs that the weights fit equally: 2.5.0.")
@click.option("--spec", "spec", metavar="FILE|VERSION", help="The spec of weights that fit no released one: JSON.")
@click.option(
    "--map", "rules", metavar="OLD=NEW", multiple=True, help="Rename weights, or what their names begin with."
)
@click.option("--activation", metavar="NAME", help="The activation, where the file doesn't readably say it.")
@click.option("--vecnormalize", metavar="FILE", help="What VecNormalize.save wrote beside a stable-baselines3 model.")
@click.option("--no-normalisation", "unnormalised", is_flag=True, help="A stable-baselines3 model had no VecNormalize.")
@click.option("--golden", metavar="FILE", help="A golden file: decisions that the foreign code recorded.")
@click.option("--vouch", metavar="REASON", help="Answer for a model without golden decisions; recorded and shown.")
@click.option("--timeframe", type=click.Choice(TIMEFRAMES), help="Of the bars that it was trained on.")
@click.option("--adjustment", type=click.Choice(ADJUSTMENTS), help="Of the bars that it was trained on.")
@click.option("--symbols", multiple=True, help="What it was trained on: AAPL,IBM.")
@click.option("--experiment", metavar="NAME", help="The MLflow experiment that logs it.  [default: MLflow's own]")
@registry_options
@format_option
@click.pass_context
def command(
    context: click.Context,
    /,
    files: tuple[str, ...],
    name: str,
    vouch: str | None,
    experiment: str | None,
    tracking_uri: str | None,
    registry_uri: str | None,
    format_: str,
    **told: Any,
) -> None:
    """Register checkpoints that other code wrote, each as a version, or say why not.

    A FILE is a checkpoint of this protocol, a legacy one, or a PPO model of stable-baselines3, told by its content.
    Nothing of it is run, and what isn't sure is refused with every reason. All are checked before any is registered.
    Exit codes: 0 registered, 1 refused, 2 not readable or not reached. JSON: {registered: [{file, kind, reading, model,
    version, uri, spec_version, fingerprint, digest, proof: proven|vouched|unproven, vouch, findings}], refused: [{file,
    findings}]}.
    """
    options = _options(files, **told)
    promise = _vouch(vouch)
    client = connect(tracking_uri, registry_uri)
    candidates, refused = _read(files, options)
    if not refused:
        with answering():
            client.search_registered_models(max_results=1)
    registered: list[dict[str, Any]] = []
    try:
        registered.extend(_registered([] if refused else candidates, name, promise, experiment))
    finally:
        # what was registered before something failed stays registered
        if registered or refused:
            _report(registered, candidates, refused, format_)
    context.exit(1 if refused else 0)


def _options(files: Sequence[str], **told: Any) -> Options:
    """What was said of the files; UsageError for what can't be meant."""
    from mlflow_ppo_flavor.model.architecture import ACTIVATIONS
    from mlflow_ppo_flavor.model.foreign.candidate import Options

    if told["vecnormalize"] and told["unnormalised"]:
        raise click.UsageError("--vecnormalize and --no-normalisation: found both, expected one of them")
    for option in ("golden", "vecnormalize"):
        if told[option] and len(files) > 1:
            raise click.UsageError(f"--{option}: found {len(files)} files, expected one: it belongs to one model")
    if told["activation"] not in (None, *ACTIVATIONS):
        choices = ", ".join(ACTIVATIONS)
        raise click.UsageError(f"--activation: found {told['activation']}, expected one of {choices}")
    symbols = (part.strip().upper() for value in told["symbols"] for part in value.split(","))
    spec = None if told["spec"] is None else _read_spec(told["spec"])
    rules = tuple(_rule(rule) for rule in told["rules"])
    if len({old for old, _ in rules}) < len(rules):
        raise click.UsageError("--map: found one name twice, expected each once")
    return Options(**{**told, "spec": spec, "rules": rules, "symbols": tuple(dict.fromkeys(filter(None, symbols)))})


def _rule(told: str) -> tuple[str, str]:
    old, _, new = told.partition("=")
    if not old.strip(".") or not new.strip("."):
        raise click.UsageError(f"--map: found {told}, expected OLD=NEW such as fc1=trunk.0 or policy_net=actor")
    return old.rstrip("."), new.rstrip(".")


def _read_spec(told: str) -> ModelSpec:
    """The spec in a JSON file, or a released or own one by its name."""
    path = Path(told)
    if not path.is_file():
        return spec_named(told, "--spec")
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_SPEC + 1)
        if len(content) > _LARGEST_SPEC:
            raise SpecError(f"--spec {told}", f"more than {_LARGEST_SPEC} bytes", "a spec as JSON")
        return ModelSpec.from_dict(json.loads(content.decode("utf-8")), told)
    except SpecError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise SpecError(f"--spec {told}", str(error), "a spec as JSON") from error


def _vouch(reason: str | None) -> Vouch | None:
    """Who takes responsibility: the user that MLflow's own runs name too."""
    if reason is None:
        return None
    try:
        user = getpass.getuser()
    except (ImportError, KeyError, OSError):
        user = "unknown"
    return Vouch.from_dict(
        {"reason": reason, "by": user, "at": datetime.now(UTC).isoformat(timespec="seconds")}, "--vouch"
    )


def _read(files: Sequence[str], options: Options) -> tuple[list[Candidate], Refused]:
    """What each file would be, and all findings of those that are refused."""
    from mlflow_ppo_flavor.model.foreign.candidate import read_candidate

    candidates, refused = [], []
    for file in files:
        try:
            candidates.append(read_candidate(file, options))
        except IncompatibleModel as error:
            refused.append((file, tuple(error.verdict.findings)))
    return candidates, refused


def _registered(
    candidates: Sequence[Candidate], name: str, vouch: Vouch | None, experiment: str | None
) -> Iterator[dict[str, Any]]:
    """Log and register each candidate, and tell what it is now."""
    import mlflow

    from mlflow_ppo_flavor import flavor

    with answering(), redirect_stdout(sys.stderr), warnings.catch_warnings():
        # what is missing or weak is in the report
        warnings.filterwarnings("ignore", category=UserWarning, module=r"mlflow\..*|mlflow_ppo_flavor\..*")
        if experiment is not None:
            mlflow.set_experiment(experiment)
        for candidate in candidates:
            promise = vouch if candidate.golden is None else None
            info = flavor.log_model(
                candidate.network,
                name=_ARTIFACT,
                spec=candidate.spec,
                golden=candidate.golden,
                vouch=promise,
                registered_model_name=name,
            )
            yield {
                "file": candidate.source,
                "kind": candidate.kind,
                "reading": candidate.reading,
                "model": name,
                "version": str(info.registered_model_version),
                "uri": f"models:/{name}/{info.registered_model_version}",
                "spec_version": candidate.spec.version,
                "fingerprint": candidate.spec.fingerprint,
                "digest": model_digest(info.flavors),
                "proof": "proven" if candidate.golden is not None else "unproven" if promise is None else "vouched",
                "vouch": None if promise is None else promise.to_dict(),
                "findings": [finding.to_dict() for finding in candidate.findings],
            }


def _told(file: str, findings: Sequence[Finding]) -> dict[str, Any]:
    return {"file": file, "findings": [finding.to_dict() for finding in findings]}


def _report(
    registered: Sequence[dict[str, Any]], candidates: Sequence[Candidate], refused: Refused, format_: str
) -> None:
    if format_ == "json":
        print_json({"registered": registered, "refused": [_told(file, findings) for file, findings in refused]})
    else:
        _print(registered, candidates, refused)


def _print(registered: Sequence[dict[str, Any]], candidates: Sequence[Candidate], refused: Refused) -> None:
    """Each file, what became of it, and what to do next."""
    for row, candidate in zip(registered, candidates, strict=False):
        fact = f"{row['file']} ({row['kind']}) is {row['model']} version {row['version']}, spec {row['spec_version']}"
        print_verdict(fact, True, candidate.findings)
        click.echo(f"  read as {one_line(row['reading'])}")
        click.echo(f"  digest {row['digest']}")
        click.echo(f"  {one_line(_proof(row, candidate))}")
    for file, findings in refused:
        print_verdict(f"{file} is refused", False, findings)
    if refused:
        click.echo("Nothing was registered.")


def _proof(row: dict[str, Any], candidate: Candidate) -> str:
    if row["vouch"] is not None:
        return Vouch(**row["vouch"]).text
    if candidate.golden is not None:
        return f"proven: {candidate.decisions} golden decisions, reproduced by this code"
    return _NEXT
