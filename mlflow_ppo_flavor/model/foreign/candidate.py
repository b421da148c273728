"""Candidate: what a foreign file would be as a model, everything about it checked; nothing is registered here."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mlflow_ppo_flavor.contract.compatibility import Finding
from mlflow_ppo_flavor.contract.digest import canonical_json
from mlflow_ppo_flavor.contract.spec import BarSpec, ModelSpec
from mlflow_ppo_flavor.errors import CheckpointError, SpecError
from mlflow_ppo_flavor.model.checkpoint import Checkpoint, load_checkpoint
from mlflow_ppo_flavor.model.detection import Inspection, inspect_checkpoint
from mlflow_ppo_flavor.model.foreign.activation import Mention, chosen, find_mentions
from mlflow_ppo_flavor.model.foreign.fault import fault, refusal, refuse
from mlflow_ppo_flavor.model.foreign.golden_file import GoldenFile, read_golden_file
from mlflow_ppo_flavor.model.foreign.golden_record import golden_of
from mlflow_ppo_flavor.model.foreign.layer_map import linear_layers, read_layers
from mlflow_ppo_flavor.model.foreign.layer_names import renamed
from mlflow_ppo_flavor.model.foreign.layers import PLACE, Layer, Layers
from mlflow_ppo_flavor.model.foreign.members import member_names
from mlflow_ppo_flavor.model.foreign.stable_baselines import POLICY, StableBaselines, read_stable_baselines
from mlflow_ppo_flavor.model.foreign.vec_normalize import Statistics, read_statistics
from mlflow_ppo_flavor.model.policy import ActorCritic
from mlflow_ppo_flavor.model.proof import Golden
from mlflow_ppo_flavor.model.replay import reproduce
from mlflow_ppo_flavor.model.shape import named_weights

_NOT_CONFIG = (PLACE, "optimizer_state_dict", "golden", "spec")


@dataclass(frozen=True, slots=True)
class Options:
    """What the user says of a file beside it: all that can't be read from it, and is never guessed.

    `as_version` chooses among equal specs; `spec` is the file's own where it is none of the released; `rules` rename
    weights (old, new); `vecnormalize` is the path of a VecNormalize file, `unnormalised` says that there was none;
    `golden` the path of a golden file; `timeframe`, `adjustment` and `symbols` fill bars where the spec has none.
    """

    as_version: str | None = None
    spec: ModelSpec | None = None
    rules: tuple[tuple[str, str], ...] = ()
    activation: str | None = None
    vecnormalize: str | None = None
    unnormalised: bool = False
    golden: str | None = None
    timeframe: str | None = None
    adjustment: str | None = None
    symbols: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Candidate:
    """A network, its spec and its golden decisions, if any, all of whose `decisions` this code reproduces; `kind` and
    `reading` say what the file was taken for.
    """

    source: str
    kind: str
    reading: str
    network: ActorCritic
    spec: ModelSpec
    golden: Golden | None
    findings: tuple[Finding, ...]
    decisions: int = 0


def read_candidate(path: str | os.PathLike[str], options: Options) -> Candidate:
    """Read one of our checkpoints, a legacy one, or a PPO model of stable-baselines3: told by content, not by name.

    IncompatibleModel with every finding where something isn't sure, contradicts something else or isn't reproduced;
    CheckpointError for a file that can't be read; SpecError for a spec that can't; UnknownFormat for a later format.
    """
    names = member_names(path)
    if any(name.endswith(".npy") for name in names):
        raise CheckpointError(f"{path}: found a file of arrays, expected a checkpoint: give golden files by --golden")
    if POLICY in names:
        read = _of_stable_baselines(read_stable_baselines(path), options)
    else:
        read = _of_checkpoint(load_checkpoint(path), options)
    file = None if options.golden is None else read_golden_file(options.golden)
    spec = _with_bars(read.spec, options, file)
    golden = read.golden if file is None else golden_of(file)
    replayed = None if golden is None else reproduce(golden, read.network, spec)
    findings = (*read.findings, *(() if replayed is None else replayed.findings))
    refuse(findings)
    decisions = 0 if replayed is None else replayed.decisions
    return replace(read, spec=spec, golden=golden, findings=findings, decisions=decisions)


def _of_checkpoint(checkpoint: Checkpoint, options: Options) -> Candidate:
    """A checkpoint of ours where it says how its network is built, otherwise a legacy one."""
    if options.vecnormalize is not None:
        remedy = "leave the option out: a checkpoint's policy sees what its trainer fed it"
        refuse([fault(checkpoint.source, "a checkpoint", "a stable-baselines3 model for --vecnormalize", remedy)])
    if checkpoint.get("architecture") is None:
        return _of_legacy(checkpoint, options)
    inspection = _inspected(checkpoint, options, [])
    refuse([*inspection.findings, *_needless(checkpoint, options)])
    network = checkpoint.policy()
    reading = canonical_json(network.architecture).decode()
    told = (checkpoint.source, "checkpoint", reading)
    return Candidate(*told, network, inspection.spec, checkpoint.golden, inspection.findings)


def _of_legacy(checkpoint: Checkpoint, options: Options) -> Candidate:
    """A network under names of its own, its activation in its config or said by the user."""
    weights, findings = renamed(named_weights(checkpoint[PLACE]), options.rules)
    linear, strange = linear_layers(weights)
    findings += strange
    inspection = _inspected({**checkpoint, PLACE: _matrices(linear)}, options, findings)
    spec = inspection.spec
    layers, unread = (None, []) if strange else read_layers(linear, spec.obs_dim, spec.n_actions)
    config = {key: value for key, value in checkpoint.items() if key not in _NOT_CONFIG}
    findings += [*inspection.findings, *unread]
    network = _built(layers, find_mentions(config), options, spec, None, findings, f"{checkpoint.source}: activation")
    reading = f"{layers}; {network.architecture['activation']}"
    told = (checkpoint.source, "legacy checkpoint", reading)
    return Candidate(*told, network, spec, checkpoint.golden, inspection.findings)


def _of_stable_baselines(model: StableBaselines, options: Options) -> Candidate:
    """A model whose observations were normalised as the user says: its weights don't show it."""
    weights, findings = renamed(model.weights.items(), options.rules)
    model = replace(model, weights=weights)
    layers, unread = model.layers()
    refuse([*findings, *unread, *model.findings(None)])
    inspection = _inspected({PLACE: _matrices(linear_layers(weights)[0])}, options, [])
    spec = inspection.spec
    findings += [*inspection.findings, *model.findings(spec)]
    statistics, wrong = _statistics(model, options, spec)
    findings += wrong
    place = f"{model.source}: data: activation"
    network = _built(layers, model.mentions, options, spec, statistics, findings, place)
    normalised = "not normalised" if statistics is None else f"normalised, clipped at {statistics.clip:g}"
    reading = f"{layers}; {network.architecture['activation']}; observations {normalised}"
    told = (model.source, f"stable-baselines3 {model.version}", reading)
    return Candidate(*told, network, spec, None, inspection.findings)


def _built(
    layers: Layers | None,
    mentions: tuple[Mention, ...],
    options: Options,
    spec: ModelSpec,
    statistics: Statistics | None,
    findings: list[Finding],
    place: str,
) -> ActorCritic:
    """The network of layers that could be read; IncompatibleModel with all findings where something is wrong."""
    activation, unsaid = chosen(mentions, options.activation, place)
    findings += unsaid
    refuse(findings)
    if layers is None:
        raise refusal(findings)
    try:
        return layers.network(spec, activation, statistics)
    except SpecError as error:
        remedy = error.remedy or "give its own spec: --spec FILE"
        raise refusal([*findings, fault(error.path, str(error.found), error.expected, remedy)]) from error


def _matrices(layers: Sequence[Layer]) -> dict[str, Any]:
    """The weights that tell how many numbers enter and leave."""
    return {f"{layer.name}.weight": layer.weight for layer in layers}


def _inspected(checkpoint: Mapping[str, Any], options: Options, findings: Sequence[Finding]) -> Inspection:
    """The spec of weights: the user's, where the file has none; IncompatibleModel where both are there and differ, and,
    beside the findings so far, where there is none.
    """
    data = dict(checkpoint)
    if options.spec is not None and data.get("spec") is None:
        data["spec"] = options.spec.to_dict()
    try:
        inspection = inspect_checkpoint(data, as_version=options.as_version)
    except CheckpointError as error:
        remedy = "give the spec that it was trained for: --spec FILE|VERSION"
        raise refusal([*findings, fault(PLACE, f"no spec ({error})", "the weights of one", remedy)]) from error
    given = options.spec
    if given is not None and replace(given, bars=inspection.spec.bars).fingerprint != inspection.spec.fingerprint:
        own = f"its own, {inspection.spec.version} with {inspection.spec.obs_dim} inputs"
        refuse([fault("spec", f"--spec {given.version} of {given.obs_dim} inputs", own, "leave --spec out")])
    return inspection


def _needless(checkpoint: Checkpoint, options: Options) -> Iterator[Finding]:
    """What the user says of a checkpoint that says it itself, and differently."""
    architecture = checkpoint["architecture"]
    own = architecture.get("activation") if isinstance(architecture, Mapping) else None
    if options.activation is not None and options.activation != own:
        yield fault("architecture.activation", str(own), f"--activation {options.activation}", "leave the option out")
    for old, new in options.rules:
        yield fault(f"--map {old}={new}", "a checkpoint that names its layers", "foreign names", "leave the option out")


def _statistics(model: StableBaselines, options: Options, spec: ModelSpec) -> tuple[Statistics | None, list[Finding]]:
    if options.vecnormalize is not None:
        return read_statistics(options.vecnormalize, spec)
    if options.unnormalised:
        return None, []
    remedy = "give --vecnormalize FILE (what VecNormalize.save wrote), or --no-normalisation if there was none"
    found = "nothing that says whether observations were normalised"
    return None, [fault(model.source, found, "to be told: weights don't show it", remedy)]


def _with_bars(spec: ModelSpec, options: Options, file: GoldenFile | None) -> ModelSpec:
    """The spec with the bars that options and golden file tell; IncompatibleModel where any two contradict."""
    told = [("the spec", spec.bars)] if spec.bars is not None else []
    if file is not None and file.spec.bars is not None:
        told.append((f"the golden file {file.source}", file.spec.bars))
    findings = []
    for option in ("timeframe", "adjustment"):
        sources = [(source, getattr(bars, option)) for source, bars in told]
        given = getattr(options, option)
        sources += [(f"--{option}", given)] if given is not None else []
        if len({value for _, value in sources}) > 1:
            found = ", ".join(f"{value} by {source}" for source, value in sources)
            findings.append(fault(f"spec.bars.{option}", found, "one", "leave out what is wrong"))
    findings += _symbol_findings(spec, options, file)
    if not told and (options.timeframe is None) != (options.adjustment is None):
        remedy = "say both: what the policy was trained on can't be told from weights"
        findings.append(fault("spec.bars", "one of --timeframe and --adjustment", "both or none", remedy))
    refuse(findings)
    symbols = spec.symbols or options.symbols or (() if file is None else (file.bars.symbol,))
    if told:
        return replace(spec, bars=told[0][1], symbols=symbols)
    if options.timeframe is not None and options.adjustment is not None:
        return replace(spec, bars=BarSpec(options.timeframe, options.adjustment), symbols=symbols)
    return replace(spec, symbols=symbols)


def _symbol_findings(spec: ModelSpec, options: Options, file: GoldenFile | None) -> Iterator[Finding]:
    if spec.symbols and options.symbols and set(spec.symbols) != set(options.symbols):
        found = f"--symbols {', '.join(options.symbols)}"
        yield fault("spec.symbols", found, f"its own {', '.join(spec.symbols)}", "leave --symbols out")
    trained = spec.symbols or options.symbols
    if file is not None and trained and file.bars.symbol not in trained:
        expected = f"one of the trained {', '.join(trained)}"
        yield fault(f"{file.source}: symbol", file.bars.symbol, expected, "record it on bars of a trained symbol")
