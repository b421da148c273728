"""What the tests of audits share: a signed registry that is fine, and what an audit says of it in lines."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlflow_ppo_flavor.contract.keys import SigningKey
from mlflow_ppo_flavor.registry.store import GuardMixin
from tests.registry import databases
from tests.registry.filling import write_model
from tests.registry.model_folders import announcement, trained
from tests.registry.operating import announce, register


@pytest.fixture
def models(tmp_path: Path) -> dict[str, str]:
    """Model folders of this test alone, with every file that they list."""
    return {
        f"{version}{letter}": str(write_model(tmp_path / f"{version}{letter}", trained(version)))
        for version, letter in (("2.6.0", ""), ("2.6.0", "b"), ("2.7.0", ""))
    }


@pytest.fixture
def signed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GuardMixin]:
    """A guarded store that seals its verdicts."""
    SigningKey.generate().write(tmp_path / "key.pem")
    monkeypatch.setenv("MLFLOW_PPO_SIGNING_KEY_FILE", str(tmp_path / "key.pem"))
    store = databases.guarded(tmp_path)
    yield store
    store.engine.dispose()


@pytest.fixture
def desk(signed: GuardMixin, models: dict[str, str]) -> GuardMixin:
    """A model of versions 1 and 2 (2.6.0) and 3 (2.7.0): a trader 2.6.0 loads version 1 by Production, 2 by @live."""
    register(signed, models, "2.6.0", "2.6.0b", "2.7.0")
    announce(signed, announcement("m", version="2.6.0"))
    announce(signed, announcement("m", "@live", version="2.6.0"))
    signed.transition_model_version_stage("m", 1, "Production", False)
    signed.set_registered_model_alias("m", "live", 2)
    return signed


def audited(store: GuardMixin, **options: Any) -> dict[str, list[str]]:
    """{reference: [`[kind] code: message`]} of what has findings; a model's own under its name."""
    found = {}
    for model, report in store.report("audit", **options).items():
        found |= {each["reference"]: each["findings"] for each in report["references"]} | {model: report["findings"]}
    lines = {
        where: [f"[{f['kind']}] {f['code']}: {f['place']}: found {f['found']}, {f['expected']}" for f in findings]
        for where, findings in found.items()
    }
    return {where: told for where, told in lines.items() if told}
