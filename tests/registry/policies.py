"""Hypothesis strategies of policies: any that can be written."""

from hypothesis import strategies as st

from mlflow_ppo_flavor.registry.policy import Policy
from mlflow_ppo_flavor.registry.terms import MODES, Clause
from mlflow_ppo_flavor.registry.threshold import Threshold
from tests.contract import contracts

numbers = st.floats(allow_nan=False, allow_infinity=False, width=32)
signs = st.sampled_from((">=", ">", "<=", "<"))
thresholds = st.one_of(
    st.builds(lambda sign, number: Threshold.parse(f"{sign}{number!r}"), signs, numbers),
    st.builds(lambda low, more: Threshold.parse(f">={low}, <{low + more}"), st.integers(-9, 9), st.integers(1, 9)),
)
keys = st.text(st.characters(categories=("L", "N", "P")), min_size=1, max_size=20)
traders = st.sampled_from(("2.3.0", "2.4.0", "2.6.5", "2.7.0rc1", "2.7.0"))
clauses = st.builds(
    Clause,
    mode=st.none() | st.sampled_from(MODES),
    default_traders=st.none() | st.lists(traders, min_size=1, max_size=3, unique=True).map(tuple),
    metrics=st.dictionaries(keys, thresholds, max_size=3),
    required_tags=st.dictionaries(keys, st.none() | st.text(st.characters(codec="utf-8"), max_size=9), max_size=3),
    require_attestation=st.none() | st.booleans(),
    approvals=st.none() | st.integers(0, 100),
)
policies = st.builds(
    Policy,
    protected_aliases=st.lists(contracts.aliases.map(lambda label: label[1:]), max_size=3, unique=True).map(tuple),
    traders=st.none()
    | st.lists(st.from_regex(r"[A-Za-z0-9*?._-]{1,9}", fullmatch=True), max_size=3, unique=True).map(tuple),
    everywhere=clauses,
    references=st.dictionaries(
        st.one_of(
            st.sampled_from(("Production", "Staging")),
            contracts.aliases,
            contracts.references.map(str),
        ),
        clauses,
        max_size=4,
    ),
)
