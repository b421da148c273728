"""Answers to the question that a search for the tag `ppo.report` asks: one registered model each, as MLflow pages them.

One for each model, so that MLflow's basic-auth leaves out those that the asking user may not read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mlflow.entities.model_registry import RegisteredModel, RegisteredModelTag
from mlflow.exceptions import MlflowException
from mlflow.prompt.constants import IS_PROMPT_TAG_KEY
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.store.entities.paged_list import PagedList
from mlflow.utils.search_utils import SearchModelUtils, SearchUtils
from sqlalchemy.orm import Session

from mlflow_ppo_flavor.contract.digest import canonical_json
from mlflow_ppo_flavor.contract.request import REPORT_TAG, Question
from mlflow_ppo_flavor.registry.setting import Setting

_EXPECTED = f"tags.`{REPORT_TAG}` = 'REPORT', alone or beside name = 'MODEL'"


@dataclass(frozen=True, slots=True)
class Search:
    """A search for reports: the question, and the one model that it is asked of, or None for all."""

    question: Question
    model: str | None


def parse_search(filter_string: object) -> Search | None:
    """The question that a search's filter asks; None for any other search.

    SpecError for a question that nobody answers, MlflowException for a filter that asks something beside it.
    """
    if not isinstance(filter_string, str) or REPORT_TAG not in filter_string:
        return None
    parsed = [each for each in SearchModelUtils.parse_search_filter(filter_string) if not _is_clients_own(each)]
    asked = [each for each in parsed if each["type"] == "tag" and each["key"] == REPORT_TAG]
    if not asked:
        return None
    named = [each for each in parsed if each["type"] == "attribute" and each["key"] == "name"]
    single = len(asked) == 1 and len(named) <= 1 and len(parsed) == len(asked) + len(named)
    if not single or any(each["comparator"] != "=" for each in parsed):
        raise MlflowException(f"filter: found {filter_string!r}, expected {_EXPECTED}", INVALID_PARAMETER_VALUE)
    return Search(Question.parse(asked[0]["value"]), named[0]["value"] if named else None)


def _is_clients_own(asked: dict[str, Any]) -> bool:
    """Whether MLflow's client added this to the filter: it does so to every search, to leave out prompts."""
    return (asked["type"], asked["key"], asked["comparator"]) == ("tag", IS_PROMPT_TAG_KEY, "!=")


def page(
    search: Search, session: Session, workspace: str, setting: Setting, most: int, page_token: str | None
) -> PagedList[Any]:
    """The answers of one page, by the models' names."""
    names = named(search, session, workspace, setting)
    start = SearchUtils.parse_start_offset_from_page_token(page_token)
    models = names[start : start + most]
    found = answered(search.question, session, workspace, setting, models)
    told = [_model(model, report, workspace) for model, report in found.items()]
    more = start + most < len(names)
    return PagedList(told, SearchUtils.create_page_token(start + most) if more else None)


def named(search: Search, session: Session, workspace: str, setting: Setting) -> list[str]:
    """The models that a question is about."""
    # the reports are needed by few of those who open a registry
    from mlflow_ppo_flavor.registry.report import names

    found = names(search.question.report, session, workspace, setting.policy)
    return found if search.model is None else [name for name in found if name == search.model]


def answered(
    question: Question, session: Session, workspace: str, setting: Setting, models: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """{model: report}, in the models' order."""
    from mlflow_ppo_flavor.registry.report import report

    found = report(question, session, workspace, models, setting=setting) if models else {}
    return {model: found[model] for model in models if model in found}


def _model(name: str, report: dict[str, Any], workspace: str) -> RegisteredModel:
    tag = RegisteredModelTag(REPORT_TAG, canonical_json(report).decode("utf-8"))
    return RegisteredModel(name, tags=[tag], latest_versions=[], workspace=workspace)
