"""The policy's values: what each key means for each reference, and what is refused, with its place."""

import json
from typing import Any

import pytest
from hypothesis import given

from mlflow_ppo_flavor.contract.reference import Reference
from mlflow_ppo_flavor.errors import SpecError
from mlflow_ppo_flavor.registry.policy import Policy
from mlflow_ppo_flavor.registry.terms import Terms
from mlflow_ppo_flavor.registry.threshold import Threshold
from tests.registry.policies import policies

PRODUCTION, STAGING, CHAMPION = (Reference("m", label) for label in ("Production", "Staging", "@champion"))
AT_LEAST_HALF = Threshold.parse(">=0.5")


@given(policies)
def test_a_policy_comes_back_equal_through_json(policy: Policy) -> None:
    assert Policy.from_dict(json.loads(json.dumps(policy.to_dict()))) == policy


def test_the_default_policy() -> None:
    assert Policy.from_dict({}) == Policy()
    assert Policy().to_dict() == {}
    assert Policy().terms(PRODUCTION) == Policy().terms(CHAMPION) == Terms("block", ("2.7.0",))
    assert Policy().terms(STAGING) == Terms("warn-until-announced", ("2.7.0",))
    assert Policy().protects("m") == set()
    assert not Policy().names("m")
    assert Policy().lets_announce("anybody")


@pytest.mark.parametrize(
    ("mode", "announced", "warns"),
    [
        ("block", False, False),
        ("block", True, False),
        ("warn", False, True),
        ("warn", True, True),
        ("warn-until-announced", False, True),
        ("warn-until-announced", True, False),
    ],
)
def test_modes(mode: Any, announced: bool, warns: bool) -> None:
    assert Terms(mode=mode).warns(announced=announced) is warns


EVERY_TERM: dict[str, Any] = {
    "mode": "warn",
    "default_traders": ["2.6.0"],
    "metrics": {"sharpe": ">=0.5"},
    "required_tags": ["reviewed"],
    "require_attestation": True,
    "approvals": 2,
}
ASKED = Terms("warn", ("2.6.0",), {"sharpe": AT_LEAST_HALF}, {"reviewed": None}, True, 2)


def test_terms_at_the_top_hold_for_production_and_aliases_and_for_staging_only_its_default_traders() -> None:
    policy = Policy.from_dict(EVERY_TERM)
    assert policy.terms(PRODUCTION) == policy.terms(CHAMPION) == ASKED
    assert policy.terms(STAGING) == Terms("warn-until-announced", ("2.6.0",))


@pytest.mark.parametrize("key", ["Production", "Staging", "@champion", "m/Production", "m/Staging", "m@champion"])
def test_terms_of_a_label_or_a_reference_hold_there_alone(key: str) -> None:
    policy = Policy.from_dict({"references": {key: EVERY_TERM}})
    for reference in (PRODUCTION, STAGING, CHAMPION, Reference("other", "Production"), Reference("m", "@other")):
        holds = key in (reference.label, str(reference))
        assert policy.terms(reference) == (ASKED if holds else Policy().terms(reference))


@pytest.mark.parametrize(
    ("term", "over", "expected"),
    [
        ("mode", "block", "block"),
        ("default_traders", ["2.7.0", "2.5.0"], ("2.7.0", "2.5.0")),
        ("metrics", {"drawdown": "<0.2"}, {"sharpe": AT_LEAST_HALF, "drawdown": Threshold.parse("<0.2")}),
        ("metrics", {"sharpe": ">1"}, {"sharpe": Threshold.parse(">1")}),
        ("required_tags", {"reviewed": "yes"}, {"reviewed": "yes"}),
        ("required_tags", ["risk"], {"reviewed": None, "risk": None}),
        ("require_attestation", False, False),
        ("approvals", 0, 0),
    ],
)
def test_a_whole_reference_goes_over_its_label_term_by_term(term: str, over: object, expected: object) -> None:
    policy = Policy.from_dict({"references": {"Production": EVERY_TERM, "m/Production": {term: over}}})
    assert getattr(policy.terms(PRODUCTION), term) == expected
    others = {name: getattr(ASKED, name) for name in EVERY_TERM if name != term}
    assert {name: getattr(policy.terms(PRODUCTION), name) for name in others} == others
    assert policy.terms(Reference("n", "Production")) == ASKED


def test_what_the_policy_protects_and_which_models_it_guards() -> None:
    references: dict[str, Any] = {"@canary": {}, "m@beta": {}, "n/Production": {}, "Production": {}}
    policy = Policy.from_dict({"protected_aliases": ["champion"], "references": references})
    everywhere = {"@champion", "@canary"}
    assert {reference.label for reference in policy.protects("m")} == everywhere | {"@beta"}
    assert policy.protects("n") == {Reference("n", label) for label in everywhere}
    assert [policy.names(model) for model in ("m", "n", "x", "M")] == [True, True, False, False]


def test_default_traders_are_of_released_versions_whether_or_not_one_is_named_so() -> None:
    released = ["2.3.0", "2.6.5", "2.7.0rc1", "2.7.0"]
    assert Policy.from_dict({"default_traders": released}).terms(PRODUCTION).default_traders == tuple(released)


def test_aliases_in_another_case_are_others_and_stages_are_not() -> None:
    policy = Policy.from_dict({"references": {"@Champion": EVERY_TERM, "staging": EVERY_TERM, "m/PRODUCTION": {}}})
    assert policy.terms(CHAMPION) == Policy().terms(CHAMPION)
    assert policy.terms(STAGING) == ASKED
    assert policy.to_dict()["references"].keys() == {"@Champion", "Staging", "m/Production"}


@pytest.mark.parametrize(
    ("patterns", "allowed", "refused"),
    [
        (["live-*"], ["live-1", "live-"], ["live", "LIVE-1", "x-live-1", "canary"]),
        (["live-?", "desk"], ["live-1", "desk"], ["live-10", "desk-1"]),
        (["live-[12]"], ["live-1"], ["live-3"]),
        ([], [], ["live-1"]),
    ],
)
def test_who_may_announce(patterns: list[str], allowed: list[str], refused: list[str]) -> None:
    policy = Policy.from_dict({"traders": patterns})
    assert all(policy.lets_announce(trader) for trader in allowed)
    assert not any(policy.lets_announce(trader) for trader in refused)


KEYED = "Production, Staging, @alias, or one of them after a model's name, such as ppo-aapl/Production"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "policy: found None, expected a mapping"),
        ([], "policy: found [], expected a mapping"),
        (
            {"protect": 1},
            "protect: found an unknown key, expected one of protected_aliases, traders, references, mode, "
            "default_traders, metrics, required_tags, require_attestation, approvals",
        ),
        (
            {"references": {"Production": {"approval": 1}}},
            "references.Production.approval: found an unknown key, expected one of mode, default_traders, metrics, "
            "required_tags, require_attestation, approvals",
        ),
        (
            {"references": {"Production": {"a\x1b[2J": 1}}},
            "references.Production.'a\\x1b[2J': found an unknown key, expected one of mode, default_traders, metrics, "
            "required_tags, require_attestation, approvals",
        ),
        *(
            (
                {"references": {f"m{text}/Production": {"mode": "on"}}},
                f"references.{shown}.mode: found 'on', expected one of block, warn, warn-until-announced",
            )
            for text, shown in (
                ("\x85", "'m\\x85/Production'"),
                ("\u202e", "'m\\u202e/Production'"),
                (" é", "m é/Production"),
            )
        ),
        ({"mode": "Block"}, "mode: found 'Block', expected one of block, warn, warn-until-announced"),
        ({"mode": True}, "mode: found True, expected one of block, warn, warn-until-announced"),
        ({"mode": None}, "mode: found None, expected one of block, warn, warn-until-announced"),
        ({"protected_aliases": "champion"}, "protected_aliases: found 'champion', expected a list"),
        *(
            (
                {"protected_aliases": ["a", alias]},
                f"protected_aliases[1]: found {alias!r}, expected an alias that MLflow allows, without @, "
                "such as champion",
            )
            for alias in ("@champion", "", "latest", "LATEST", "v2", "a b", "a/b", 3)
        ),
        ({"protected_aliases": ["a", "a"]}, "protected_aliases[1]: found a a second time, expected each once"),
        ({"traders": "live-*"}, "traders: found 'live-*', expected a list"),
        ({"traders": None}, "traders: found None, expected a list"),
        (
            {"traders": ["live *"]},
            "traders[0]: found 'live *', expected a trader id or a pattern of some, such as live-*",
        ),
        ({"references": ["Production"]}, f"references: found ['Production'], expected a mapping of {KEYED}"),
        ({"references": {3: {}}}, f"references: found 3, expected keys such as {KEYED}"),
        *(
            ({"references": {key: {}}}, f"references: found {key!r}, expected {KEYED}")
            for key in ("", "Archived", "None", "m/None", "m/latest", "m@latest", "@v1", "@", "m@", "/Production",
                        "a/b/Production", "m:x/Production", "champion", "m/@champion", "m@a@b")
        ),
        ({"references": {"Production": None}}, "references.Production: found None, expected a mapping"),
        (
            {"references": {"Production": {}, "production": {}}},
            "references.production: found Production a second time, expected each once",
        ),
        (
            {"references": {"m/Production": {"metrics": {"sharpe": 0.5}}}},
            'references.m/Production.metrics.sharpe: found 0.5, expected a threshold such as ">=0.5", "<0.2" or '
            '">=0.5,<3"',
        ),
        ({"metrics": ["sharpe"]}, "metrics: found ['sharpe'], expected a mapping of metrics to thresholds"),
        ({"metrics": {"": ">1"}}, "metrics: found '', expected the name of a metric, of at most 250 characters"),
        ({"metrics": {1: ">1"}}, "metrics: found 1, expected the name of a metric, of at most 250 characters"),
        (
            {"required_tags": "reviewed"},
            "required_tags: found 'reviewed', expected a list of tags, or a mapping of tags to the values that they "
            "need",
        ),
        ({"required_tags": ["a", "a"]}, "required_tags[1]: found a a second time, expected each once"),
        ({"required_tags": ["\n"]}, "required_tags[0]: found '\\n', expected the name of a tag, of at most 250 "
         "characters"),
        ({"required_tags": {"reviewed": True}}, "required_tags.reviewed: found True, expected a text: write it in "
         "quotes"),
        ({"required_tags": {"reviewed": "x" * 8001}}, "required_tags.reviewed: found 8001 characters, expected at "
         "most 8000"),
        ({"require_attestation": "yes"}, "require_attestation: found 'yes', expected true or false"),
        ({"require_attestation": 1}, "require_attestation: found 1, expected true or false"),
        *(
            ({"approvals": count}, f"approvals: found {count!r}, expected a whole number in [0, 100]")
            for count in (-1, 101, 1.0, "1", True, None)
        ),
        ({"default_traders": "2.7.0"}, "default_traders: found '2.7.0', expected a list"),
        (
            {"default_traders": []},
            "default_traders: found no version, expected those of the traders that stand for a reference that nobody "
            "announced for",
        ),
        ({"default_traders": [2.7]}, "default_traders[0]: found 2.7, expected a version such as 2.7.0 (PEP 440)"),
        ({"default_traders": ["new"]}, "default_traders[0]: found 'new', expected a version such as 2.7.0 (PEP 440)"),
        *(
            (
                {"references": {"Production": {"default_traders": ["2.7.0", version]}}},
                f"references.Production.default_traders[1]: found {version!r}, expected a released trader's version, "
                "from 2.3.0 to 2.7.0: write one that runs there, such as 2.7.0",
            )
            for version in ("9.9.9", "1.0.0", "27.0.0", "2.7.1", "2.2.9", "2.3.0rc1", "2.7.0+mine", "1!2.7.0")
        ),
        ({"default_traders": ["2.7.0", "2.7"]}, "default_traders[1]: found 2.7 a second time, expected each once"),
    ],
)  # fmt: skip
def test_what_no_policy_says_is_refused_with_its_place(data: object, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        Policy.from_dict(data)
    assert str(caught.value) == message
