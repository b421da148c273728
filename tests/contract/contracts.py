"""Hypothesis strategies of the contract's values: any valid spec, trader, reference, finding."""

import string
from datetime import UTC

from hypothesis import strategies as st

from mlflow_ppo_flavor.contract.compatibility import KINDS, Finding, Verdict
from mlflow_ppo_flavor.contract.reference import PROTECTED_STAGES, Reference
from mlflow_ppo_flavor.contract.spec import (
    ACCOUNT_FEATURE_NAMES,
    ADJUSTMENTS,
    SESSIONS,
    TIMEFRAMES,
    Action,
    BarSpec,
    ModelSpec,
    Sizing,
)
from mlflow_ppo_flavor.contract.trader import Announcement, Attestation, Trader

versions = st.from_regex(r"[0-9]{1,2}\.[0-9]{1,2}\.[0-9]{1,2}(rc[1-9])?", fullmatch=True)
names = st.from_regex(r"[a-z][a-z0-9_]{0,12}", fullmatch=True).filter(lambda name: name not in ACCOUNT_FEATURE_NAMES)
revisions = st.integers(1, 99)
namespaces = st.sampled_from(("", "", "acme/", "a.b-c/"))
package_names = st.from_regex(r"[a-z][a-z0-9]{0,9}(-[a-z0-9]{1,5})?", fullmatch=True)
own_packages = st.dictionaries(package_names, versions, max_size=3)
texts = st.text(max_size=40)
shares = st.floats(0, 1)


bounds = st.sampled_from((">=", "==", "~=", "<", "!="))


@st.composite
def features(draw: st.DrawFn) -> tuple[str, ...]:
    """Market features, then account features, each once."""
    market = draw(st.lists(names, min_size=1, max_size=8, unique=True))
    account = draw(st.lists(st.sampled_from(ACCOUNT_FEATURE_NAMES), max_size=6, unique=True))
    named = (*(f"{draw(namespaces)}{name}" for name in market), *account)
    return tuple(f"{name}@{draw(revisions)}" for name in named)


@st.composite
def requirements(draw: st.DrawFn) -> str:
    """Trader versions, then own packages."""
    packages = draw(own_packages).items()
    return "; ".join([f">={draw(versions)}", *(f"{name}{draw(bounds)}{version}" for name, version in packages)])


@st.composite
def action_tables(draw: st.DrawFn) -> tuple[Action, ...]:
    """At least two actions of unique names; a size where there is a direction."""
    meanings = draw(
        st.lists(st.from_regex(r"[A-Z][A-Z0-9_%]{0,10}", fullmatch=True), min_size=2, max_size=7, unique=True)
    )
    directions = [draw(st.sampled_from((-1, 0, 1))) for _ in meanings]
    sizes = [draw(st.floats(0.01, 1)) if direction else 0.0 for direction in directions]
    return tuple(map(Action, meanings, directions, sizes))


bar_specs = st.builds(
    BarSpec,
    st.sampled_from(TIMEFRAMES),
    st.sampled_from(ADJUSTMENTS),
    st.sampled_from(SESSIONS),
    st.sampled_from(("America/New_York", "UTC", "Europe/Berlin")),
)
sizings = st.builds(Sizing, shares, shares, shares, st.booleans())
specs = st.builds(
    ModelSpec,
    version=versions,
    requires_trader=requirements(),
    features=features(),
    actions=action_tables(),
    bars=st.none() | bar_specs,
    window=st.integers(1, 200),
    sizing=sizings,
    symbols=st.lists(st.sampled_from(("AAPL", "GOOG", "BTC/USD", "BRK.B")), unique=True).map(tuple),
    breaking_changes=texts,
    notes=texts,
)
trader_ids = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
traders = st.builds(
    Trader,
    trader_ids,
    versions,
    features(),
    st.booleans(),
    st.lists(st.integers(1, 9), min_size=1, max_size=3).map(tuple),
    own_packages,
)
model_names = st.text(string.ascii_letters + string.digits + "-_. é", min_size=1, max_size=20).filter(str.strip)
aliases = st.from_regex(r"@[a-u][a-z0-9_-]{0,12}", fullmatch=True).filter(lambda label: label != "@latest")
references = st.builds(Reference.parse, model_names, st.sampled_from(PROTECTED_STAGES) | aliases)
times = st.datetimes(timezones=st.just(UTC)).map(lambda time: time.isoformat())
packages = st.dictionaries(names, versions, max_size=3)
announcements = st.builds(Announcement, traders, references, times, packages)
digests = st.from_regex(r"[0-9a-f]{64}", fullmatch=True)
attestations = st.builds(Attestation, trader_ids, versions, digests, times, packages)
findings = st.builds(Finding, texts, st.sampled_from(KINDS), texts, texts, texts, texts)
verdicts = st.builds(Verdict, st.lists(findings, max_size=4).map(tuple), st.booleans())
