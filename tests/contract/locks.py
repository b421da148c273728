"""Locks for tests: a small one by hand, and any valid one."""

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from mlflow_ppo_flavor.contract.lock import BEHAVIOURS, LockedPackage, LockedSpec, SpecLock
from tests.contract import contracts

LOCK = SpecLock(
    model_version="2.7.0",
    trader_version="2.7.0",
    spec_formats=(1,),
    matrix={"2.6.0": "2.4.0", "2.7.0": "2.7.0"},
    specs={
        "ppo:2.6.0": LockedSpec("6" * 64, ">=2.4.0"),
        "ppo:2.7.0": LockedSpec("7" * 64, ">=2.7.0"),
        "acme:1.0.0": LockedSpec("a" * 64, ">=2.7.0; acme-features>=1.2"),
    },
    features={"rsi_14@1": "1" * 64, "total_pnl@1": "2" * 64, "acme/spread@1": "3" * 64},
    behaviour=dict.fromkeys(BEHAVIOURS, "b" * 64),
    packages={"acme-features": LockedPackage("1.2.0", ("acme",), ("acme",))},
)


def changed(lock: SpecLock, section: str, **entries: Any) -> SpecLock:
    """The lock with some entries of a section replaced or added; taken out where the entry is None."""
    members = {**getattr(lock, section), **entries}
    return replace(lock, **{section: {name: entry for name, entry in members.items() if entry is not None}})


locked_specs = st.builds(LockedSpec, contracts.digests, contracts.versions.map(">={}".format))
locked_packages = st.builds(
    LockedPackage,
    contracts.versions,
    st.lists(contracts.names, max_size=2, unique=True).map(lambda names: tuple(sorted(names))),
    st.lists(contracts.names, max_size=2, unique=True).map(lambda names: tuple(sorted(names))),
)
spec_names = st.builds("{}:{}".format, contracts.names, contracts.versions)
references = st.builds("{}{}@{}".format, st.sampled_from(("", "acme/", "a.b/")), contracts.names, contracts.revisions)
locks = st.builds(
    SpecLock,
    model_version=contracts.versions,
    trader_version=contracts.versions,
    spec_formats=st.lists(st.integers(1, 9), max_size=3, unique=True).map(tuple),
    matrix=st.dictionaries(contracts.versions, contracts.versions, max_size=4),
    specs=st.dictionaries(spec_names, locked_specs, max_size=4),
    features=st.dictionaries(references, contracts.digests, max_size=5),
    behaviour=st.fixed_dictionaries(dict.fromkeys(BEHAVIOURS, contracts.digests)),
    packages=st.dictionaries(contracts.names, locked_packages, max_size=2),
)
