"""Reference: what can be announced and guarded, and what a `models:/` URI names."""

import pytest
from hypothesis import given
from mlflow.store.artifact.utils.models import _parse_model_uri

from mlflow_ppo_flavor.contract.reference import Reference
from mlflow_ppo_flavor.errors import SpecError
from tests.contract import contracts


@given(contracts.references)
def test_its_uri_names_it_again_here_and_in_mlflow(reference: Reference) -> None:
    assert Reference.of_uri(reference.uri) == reference
    theirs = _parse_model_uri(reference.uri)
    assert (theirs.name, theirs.stage, theirs.alias) == (reference.model, reference.stage, reference.alias)


@pytest.mark.parametrize("label", ["production", "PRODUCTION", "Production"])
def test_stages_are_case_insensitive(label: str) -> None:
    assert str(Reference.parse("ppo-aapl", label)) == "ppo-aapl/Production"


@pytest.mark.parametrize("label", ["Archived", "None", "latest", "3", "", "@", "@latest", "@v3", "@a b", "@a/b"])
def test_what_cannot_be_a_reference_is_refused(label: str) -> None:
    with pytest.raises(SpecError, match=r"^reference: found "):
        Reference.parse("ppo-aapl", label)


@pytest.mark.parametrize("model", ["", "a/b", "a:b", "a@b", "a?b", "a\nb", " "])
def test_a_name_that_mlflow_refuses_is_refused(model: str) -> None:
    with pytest.raises(SpecError, match=r"^model: found .*, expected a model name without / : @ \?"):
        Reference.parse(model, "Production")


@pytest.mark.parametrize(
    "uri", ["models:/ppo-aapl/3", "models:/ppo-aapl/latest", "models:/m-0123", "runs:/1/policy", "/tmp/policy"]
)
def test_what_names_no_reference(uri: str) -> None:
    assert Reference.of_uri(uri) is None
