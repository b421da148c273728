"""Sources: what a model is saved from, and what must agree before it is."""

from __future__ import annotations

import os
import warnings
from typing import NamedTuple

from torch import nn

from mlflow_ppo_flavor.contract.compatibility import Verdict
from mlflow_ppo_flavor.contract.spec import ModelSpec
from mlflow_ppo_flavor.contract.vouch import Vouch
from mlflow_ppo_flavor.errors import IncompatibleModel, SpecError
from mlflow_ppo_flavor.model.checkpoint import Checkpoint, load_checkpoint
from mlflow_ppo_flavor.model.detection import inspect_checkpoint
from mlflow_ppo_flavor.model.inference import Policy
from mlflow_ppo_flavor.model.onnx_policy import OnnxPolicy
from mlflow_ppo_flavor.model.policy import ActorCritic, agreed_spec, check_same, kind_of
from mlflow_ppo_flavor.model.proof import Golden
from mlflow_ppo_flavor.model.replay import replay
from mlflow_ppo_flavor.model.wholeness import check_whole

Source = ActorCritic | OnnxPolicy | nn.Module | Checkpoint | str | os.PathLike[str]
UNPROVEN = (
    "unproven: found no golden decisions, traders with real money refuse it: "
    "give golden=ppo.record_golden(policy, bars) or vouch for it"
)


class Resolved(NamedTuple):
    """What is saved: a policy, its whole spec, its golden decisions and who vouches for it, if any."""

    policy: Policy
    spec: ModelSpec
    golden: Golden | None
    vouch: Vouch | None


def resolve(source: object, spec: ModelSpec | None, golden: Golden | None, vouch: Vouch | None) -> Resolved:
    """The parts of a model, which agree with each other. Warns of what is missing or weak.

    `spec` and `golden` come from a checkpoint or are given. SpecError for another source and where the parts contradict
    each other, and as `export_module`; IncompatibleModel for a checkpoint with safety findings, and for golden
    decisions that the policy doesn't reproduce; CheckpointError.
    """
    if not isinstance(vouch, Vouch | None):
        raise SpecError("vouch", kind_of(vouch), "a Vouch(reason, by, at)")
    if isinstance(source, str | os.PathLike):
        source = load_checkpoint(source)
    if isinstance(source, Checkpoint):
        verdict = Verdict(inspect_checkpoint(source).findings, strict=False)
        if not verdict.allowed:
            raise IncompatibleModel(verdict)
        golden = source.golden if golden is None else golden
        source = source.policy()
    policy = _policy(source, spec)
    whole = agreed_spec(policy.spec, spec)
    if golden is not None:
        check_same(whole, golden.spec, "golden.spec")
        _check_proof(golden, policy, whole)
    elif vouch is None:
        warnings.warn(UNPROVEN, stacklevel=3)
    return Resolved(policy, whole, golden, vouch)


def _policy(source: object, spec: ModelSpec | None) -> Policy:
    if isinstance(source, ActorCritic | OnnxPolicy):
        return source
    if isinstance(source, nn.Module):
        # the exporter's own imports take a second
        from mlflow_ppo_flavor.model.onnx_export import export_module

        return export_module(source, spec)
    raise SpecError("policy", kind_of(source), "an ActorCritic, another torch module, a Checkpoint or its path")


def _check_proof(golden: Golden, policy: Policy, spec: ModelSpec) -> None:
    """Refuse golden decisions that aren't whole or of other weights: every trader would refuse the model later. Warn of
    a weak proof.
    """
    check_whole(golden, "golden")
    verdict = Verdict(replay(golden, policy, spec), strict=True)
    if not verdict.allowed:
        raise IncompatibleModel(verdict)
    for finding in verdict.findings:
        warnings.warn(f"[{finding.kind}] {finding.message}", stacklevel=4)
