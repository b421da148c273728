"""The exceptions of the package: one small tree.

PPOFlavorError
├── SpecError              a value of the contract that can't be read: dotted path, found, expected (also ValueError)
│   └── UnknownFormat      a format number that this code doesn't know: refused, never guessed
├── BarsError              bars refused at the edge, with every fault (also ValueError)
├── FeatureError           an own feature that failed on a window of bars, or answered no finite number
├── ObservationError       an observation of the wrong shape, kind or with non-finite numbers (also ValueError)
├── ActionError            an action that the stored spec doesn't know (also ValueError)
├── CheckpointError        a checkpoint that can't be read or written (also ValueError)
├── IncompatibleModel      a verdict that doesn't allow the model, with all its findings
├── IntegrityError         a model's files aren't what its MLmodel lists
├── BrokerError            the broker can't be reached, answered no, or something unreadable (`problem` says which)
├── JournalError           the trader's journal is in use, belongs to another trader, or can't be read or written
├── MissingExtra           a module of an optional extra isn't installed (also ModuleNotFoundError)
├── LockError              a spec.lock that can't be found, read, compared or written
├── NotTrading             the trader refuses to start: nothing was ordered
├── TrainingDiverged       training met a gradient that isn't finite: it can't go on
└── RegistryError          the registry can't be reached or answered something unusable
    └── PromotionRefused   the registry's gate refused an operation, with the findings it gave
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class PPOFlavorError(Exception):
    """Root of every error that this package raises on purpose."""


class SpecError(PPOFlavorError, ValueError):
    """A value of the contract that can't be read; the message starts with its dotted path."""

    def __init__(self, path: str, found: object, expected: str, remedy: str = "") -> None:
        self.path, self.found, self.expected, self.remedy = path, found, expected, remedy
        super().__init__(f"{path}: found {found}, expected {expected}" + (f": {remedy}" if remedy else ""))


class UnknownFormat(SpecError):
    """A format number that this code doesn't know: it is refused, never guessed."""


class BarsError(PPOFlavorError, ValueError):
    """Bars refused at the edge; `faults` holds every fault as a value."""

    def __init__(self, message: str, faults: Sequence[Any] = ()) -> None:
        self.faults = tuple(faults)
        super().__init__(message)


class FeatureError(PPOFlavorError):
    """An own feature that failed on a window of bars, or answered no finite number."""


class ObservationError(PPOFlavorError, ValueError):
    """An observation of the wrong shape or kind, or one that holds NaN or infinity."""


class ActionError(PPOFlavorError, ValueError):
    """An action that the stored spec doesn't know, or that isn't an integer."""


class CheckpointError(PPOFlavorError, ValueError):
    """A checkpoint that can't be read or written."""


class IncompatibleModel(PPOFlavorError):
    """A verdict that doesn't allow the model; `verdict` is that Verdict, with all its findings."""

    # a Verdict; its type stands above this module
    def __init__(self, verdict: Any) -> None:
        self.verdict = verdict
        super().__init__(verdict.text)


class IntegrityError(PPOFlavorError):
    """A model's files aren't what its MLmodel lists."""


class BrokerError(PPOFlavorError):
    """The broker can't be reached, answered no, or answered something unreadable; `problem` says which, as a value."""

    def __init__(self, message: str, problem: Any = None) -> None:
        self.problem = problem
        super().__init__(message)


class JournalError(PPOFlavorError):
    """The trader's journal is in use, belongs to another trader, or can't be read or written: nothing is traded."""


class MissingExtra(PPOFlavorError, ModuleNotFoundError):
    """A module of an optional extra isn't installed; `name` is the module's, as ImportError has it."""


class LockError(PPOFlavorError):
    """A spec.lock that can't be found, read, compared or written; or a checkout that can't be bumped."""


class NotTrading(PPOFlavorError):
    """The trader refuses to start, with every reason: nothing was ordered."""


class TrainingDiverged(PPOFlavorError):
    """Training met a gradient that isn't finite; nothing learned after that would mean anything."""

    def __init__(self, update: int, norm: float, learning_rate: float) -> None:
        super().__init__(
            f"update {update}: found a gradient norm of {norm}, expected a finite number: "
            f"lower learning_rate ({learning_rate:g}) or reward_scale, or look for extreme rewards"
        )


class RegistryError(PPOFlavorError):
    """The registry can't be reached, or answered something that can't be used."""


class PromotionRefused(RegistryError):
    """The registry's gate refused an operation; `findings` are those of its answer, as dicts."""

    def __init__(self, message: str, findings: Sequence[dict[str, Any]] = ()) -> None:
        self.findings = tuple(findings)
        super().__init__(message)
