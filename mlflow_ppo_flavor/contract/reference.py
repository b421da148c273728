"""Reference: what a trader loads. `<name>/Production`, `<name>/Staging` or `<name>@<alias>`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from mlflow_ppo_flavor.contract import parsing
from mlflow_ppo_flavor.errors import SpecError

PROTECTED_STAGES = ("Production", "Staging")
_MODEL = re.compile(r"(?=.*\S)[^/:@?\x00-\x1f\ud800-\udfff]{1,256}")
_ALIAS = re.compile(r"[A-Za-z0-9_\-.]{1,255}")
_VERSION_LIKE = re.compile(r"v\d+", re.IGNORECASE)


@dataclass(frozen=True, slots=True, order=True)
class Reference:
    """A name that resolves to one version of a registered model: either one of its two live stages or an alias."""

    model: str
    label: str

    @property
    def is_alias(self) -> bool:
        """Whether this is an alias (`@champion`) and not a stage."""
        return self.label.startswith("@")

    @property
    def alias(self) -> str | None:
        """The alias without its `@`; None for a stage."""
        return self.label[1:] if self.is_alias else None

    @property
    def stage(self) -> str | None:
        """The canonical stage; None for an alias."""
        return None if self.is_alias else self.label

    @property
    def uri(self) -> str:
        """The `models:/` URI that MLflow loads."""
        return f"models:/{self}"

    def __str__(self) -> str:
        """`ppo-aapl/Production` or `ppo-aapl@champion`."""
        return f"{self.model}{self.label}" if self.is_alias else f"{self.model}/{self.label}"

    def to_dict(self) -> dict[str, Any]:
        """The reference as JSON values."""
        return {"model": self.model, "label": self.label}

    @classmethod
    def from_dict(cls, data: object, path: str = "") -> Reference:
        """Read a reference; SpecError with its dotted path for anything else."""
        read = parsing.mapping(data, path, ("model", "label"))
        return cls.parse(
            parsing.take(read, "model", path, parsing.text),
            parsing.take(read, "label", path, parsing.text),
            path,
        )

    @classmethod
    def parse(cls, model: str, label: str, path: str = "", key: str = "reference") -> Reference:
        """A reference from a model's name and `Production`, `staging` or `@alias`; SpecError for what can't be one,
        which names the label as `key` below `path`.

        Stages are case-insensitive, as in MLflow; `latest`, `None`, `Archived` and `v<number>` can't be references.
        """
        parsing.name(model, parsing.join(path, "model"), pattern=_MODEL, expected="a model name without / : @ ?")
        where = parsing.join(path, key)
        return cls(model, parse_label(label, where))

    @classmethod
    def of_uri(cls, uri: str) -> Reference | None:
        """The reference in a `models:/` URI; None where it names a version, `latest` or no registered model."""
        rest = uri.removeprefix("models:/").strip("/")
        model, at, alias = rest.partition("@")
        name, slash, label = rest.rpartition("/")
        if rest == uri or not (at or slash):
            return None
        if not at and label.lower() not in {stage.lower() for stage in PROTECTED_STAGES}:
            return None
        return cls.parse(model, f"@{alias}") if at else cls.parse(name, label)


def parse_label(label: str, path: str) -> str:
    """The canonical spelling of a stage or an alias; SpecError for what no reference can load by."""
    return _alias(label, path) if label.startswith("@") else _stage(label, path)


def is_nameable(model: str) -> bool:
    """Whether a reference can name a registered model; MLflow takes names that no `models:/` URI of a trader has."""
    return _MODEL.fullmatch(model) is not None


def _stage(label: str, path: str) -> str:
    for stage in PROTECTED_STAGES:
        if label.lower() == stage.lower():
            return stage
    raise SpecError(path, parsing.show(label), "Production, Staging or @alias")


def _alias(label: str, path: str) -> str:
    alias = label[1:]
    if not _ALIAS.fullmatch(alias) or alias.lower() == "latest" or _VERSION_LIKE.fullmatch(alias):
        raise SpecError(path, parsing.show(label), "an alias that MLflow allows, such as @champion")
    return label
