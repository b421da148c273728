"""Safe promotion and live use of PPO trading policies on MLflow.

Importing the package loads the standard library and packaging alone; each public name loads its module when it is
first used (PEP 562). Where that needs a module of an extra which isn't installed, it says so.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from mlflow_ppo_flavor import version
from mlflow_ppo_flavor.extras import needing

__version__ = version.VERSION


_HOMES = {
    "contract.releases": (
        "CURRENT_MODEL_VERSION",
        "CURRENT_TRADER_VERSION",
        "MODEL_SPECS",
        "MODEL_TRADER_COMPATIBILITY",
        "get_checkpoint_metadata",
    ),
    "contract.spec": ("Action", "BarSpec", "ModelSpec", "Sizing"),
    "contract.reference": ("Reference",),
    "contract.trader": ("Announcement", "Trader"),
    "contract.compatibility": ("Finding", "Verdict", "check_compatibility", "judge"),
    "contract.breakage": ("Breakage", "breakages"),
    "contract.vouch": ("Vouch",),
    "contract.interpretation": ("interpret_action",),
    "errors": (
        "ActionError",
        "BarsError",
        "CheckpointError",
        "FeatureError",
        "IncompatibleModel",
        "IntegrityError",
        "ObservationError",
        "PPOFlavorError",
        "PromotionRefused",
        "RegistryError",
        "SpecError",
        "UnknownFormat",
    ),
    "decision.bars": ("Bars",),
    "decision.action": ("Instrument",),
    "decision.features": ("OwnFeature", "Window"),
    "model.policy": ("ActorCritic",),
    "model.checkpoint": ("Checkpoint", "load_checkpoint", "save_checkpoint"),
    "model.detection": ("assert_compatibility", "detect_version_from_checkpoint"),
    "model.golden": ("record_golden",),
    "model.proof": ("Golden",),
    "model.reproduction": ("Reproduction",),
    "model.verification": ("verify_model",),
    "flavor": ("load_model", "log_model", "save_model"),
    "announcement": ("announce_trader", "attest"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}
__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with needing("model", name):
        value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
