"""What a request asks of the page: its parameters, read at the edge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

_HIGHEST = 2**53 - 1


@dataclass(frozen=True)
class Asked:
    """`model`: part of the names to show; `name`: the one model to show; `page`: of the models, from 1; `below`: show
    versions under this number; `before`: events before this id.
    """

    model: str = ""
    name: str | None = None
    workspace: str = ""
    page: int = 1
    below: int | None = None
    before: int | None = None

    @classmethod
    def of(cls, arguments: Mapping[str, str]) -> Asked:
        """Read a query's parameters; MlflowException (400) names the one that can't be read."""
        return cls(
            model=arguments.get("model", "").strip(),
            name=arguments.get("name"),
            workspace=arguments.get("workspace", ""),
            page=_number(arguments, "page") or 1,
            below=_number(arguments, "below"),
            before=_number(arguments, "before"),
        )

    def wants(self, name: str) -> bool:
        """Whether a model of this name is asked for; the filter doesn't mind case."""
        return name == self.name if self.name is not None else self.model.casefold() in name.casefold()


def _number(arguments: Mapping[str, str], name: str) -> int | None:
    text = arguments.get(name, "")
    if not text:
        return None
    if text.isascii() and text.isdecimal() and len(text) < 17 and 1 <= int(text) <= _HIGHEST:
        return int(text)
    raise MlflowException(f"{name}: found {text[:40]!r}, expected a whole number from 1", INVALID_PARAMETER_VALUE)
