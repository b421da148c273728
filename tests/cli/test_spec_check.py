"""`mlflow-ppo spec check` and `spec lock`: on code that was edited, in git repositories, and on files of all kinds."""

import json
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from mlflow_ppo_flavor.contract.lock import parse_lock
from mlflow_ppo_flavor.decision.behaviour import lock_of_this_code
from tests.cli.checkouts import COMMIT, ROOT, Checkout
from tests.cli.commands import mlflow_ppo
from tests.own_packages import ACME, Install, Package

RELEASES = "mlflow_ppo_flavor/contract/releases.py"
MOMENTUM = "mlflow_ppo_flavor/decision/features/momentum.py"
ACCOUNT = "mlflow_ppo_flavor/decision/account.py"
ACTION = "mlflow_ppo_flavor/decision/action.py"
CHECK, CHECK_JSON = ["spec", "check"], ["spec", "check", "--format", "json"]


@pytest.fixture(scope="module", autouse=True)
def _features_are_compiled() -> None:
    """Here, so that the copies find them in numba's cache."""
    lock_of_this_code()


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout.copy(tmp_path / "checkout")


def places(found: list[dict[str, str]]) -> list[str]:
    return [f"{each['bump']} {each['place']}" for each in found]


def test_this_repository_owes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT / "tests")
    start = time.perf_counter()
    done = mlflow_ppo("spec", "check")
    assert time.perf_counter() - start < 5
    lock = parse_lock((ROOT / "spec.lock").read_bytes(), "spec.lock")
    count = f"({len(lock.specs)} specs, {len(lock.features)} features)"
    assert (done.code, done.out) == (0, f"{ROOT / 'spec.lock'}: this code owes nothing {count}\n")
    told = mlflow_ppo("spec", "check", "--format", "json").json
    assert told == {"allowed": True, "lock": str(ROOT / "spec.lock"), "against": None, "findings": []}


def test_every_change_of_features_is_named(checkout: Checkout, pytestconfig: pytest.Config) -> None:
    """A formula, a lookback, a feature that is gone and a new one; compiled anew where no earlier run kept it."""
    checkout.edit(
        MOMENTUM,
        "relative_strength(tail(close, bar, lookback), period)",
        "relative_strength(tail(close, bar, lookback), period + i)",
    )
    checkout.edit(MOMENTUM, "lookback=_ROC + 1,", "lookback=_ROC + 2,")
    checkout.edit(MOMENTUM, '"mfi_14",', '"mfi_15",')
    assert pytestconfig.cache is not None
    with checkout.kept_kernel(pytestconfig.cache.mkdir("edited-features")):
        done = checkout.run(CHECK_JSON, ["spec", "lock"])
    assert [each.code for each in done] == [1, 1]
    assert sorted(places(done[0].json["findings"])) == [
        "feature features.roc_12@1",
        "feature features.rsi_14@1",
        "restore features.mfi_14@1",
        "trader features.mfi_15@1",
    ]
    assert "features.rsi_14@1: found digest " in done[1].out
    assert "give the change a revision of its own, rsi_14@2, and leave rsi_14@1 as it was\n" in done[1].out
    assert checkout.text("spec.lock") == (ROOT / "spec.lock").read_text()


EDITS = [
    (ACCOUNT, "self.trades if self.trades else 0.5", "self.trades if self.trades else 0.4"),
    (ACTION, "* sizing.base_allocation", "* sizing.base_allocation * 0.99"),
    ("mlflow_ppo_flavor/decision/market.py", "costs.spread_bps * 1e-4)", "costs.spread_bps * 2e-4)"),
    ("mlflow_ppo_flavor/decision/observation.py", "math.tanh(10.0 * pnl)", "math.tanh(11.0 * pnl)"),
    ("mlflow_ppo_flavor/contract/interpretation.py", "if not 0 <= index <", "if not -1 <= index <"),
    (RELEASES, 'Action(f"BUY_{share}%", 1, share / 100)', 'Action(f"BUY_{share}%", 1, share / 200)'),
    (RELEASES, '"2.5.0": "2.4.0"', '"2.5.0": "2.5.0"'),
]


def test_every_change_of_behaviour_and_contract_is_named(checkout: Checkout) -> None:
    for path, old, new in EDITS:
        checkout.edit(path, old, new)
    found, text = checkout.run(CHECK_JSON, CHECK)
    assert (found.code, text.code) == (1, 1)
    assert found.json["allowed"] is False
    assert places(found.json["findings"]) == [
        "feature features.total_pnl@1",
        "feature features.win_rate@1",
        "model specs.ppo:2.5.0.requires_trader",
        "model specs.ppo:2.7.0.fingerprint",
        "model matrix.2.5.0",
        "trader behaviour.account",
        "trader behaviour.action",
        "trader behaviour.market",
        "trader behaviour.observation",
        "trader behaviour.sizing",
    ]
    lines = text.out.splitlines()
    assert lines[0] == "spec.lock: 10 bump(s) owed"
    assert lines[5] == (
        "  [model] matrix.2.5.0: found 2.5.0, expected the locked 2.4.0: leave the entry of 2.5.0 as it was and give "
        "the change a new model version (mlflow-ppo spec bump)"
    )


def test_a_lock_rewritten_with_the_code_is_seen_against_the_revision_before(checkout: Checkout) -> None:
    checkout.git().edit(*EDITS[1])
    against = ["spec", "check", "--against", "HEAD~1"]
    lock, cheat, agrees, seen, revision, unknown = checkout.run(
        ["spec", "lock"],
        ["rm", "spec.lock"],
        ["spec", "lock"],
        COMMIT,
        CHECK,
        [*against, "--format", "json"],
        ["spec", "check", "--against", "main"],
        ["spec", "check", "--against", "nowhere"],
    )
    assert lock.code == 1
    assert lock.out.startswith("spec.lock: 1 bump(s) owed, not written\n  [trader] behaviour.sizing: found digest ")
    assert (cheat.code, cheat.out) == (0, "spec.lock: written (5 specs, 59 features)\n")
    assert agrees.code == 0
    assert (seen.code, places(seen.json["findings"])) == (1, ["trader behaviour.sizing"])
    assert seen.json["against"] == "HEAD~1"
    assert (revision.code, revision.out) == (
        0,
        "spec.lock against main: this code owes nothing (5 specs, 59 features)\n",
    )
    assert unknown.code == 2
    assert unknown.err == (
        f"Error: --against: found 'nowhere', expected a git revision of {checkout.folder} "
        "(fetched, where the clone is shallow) or a file\n"
    )


def test_a_raised_trader_version_pays_for_behaviour_and_the_lock_has_to_follow(checkout: Checkout) -> None:
    checkout.git().edit(*EDITS[1])
    checkout.edit(RELEASES, 'CURRENT_TRADER_VERSION = "2.7.0"', 'CURRENT_TRADER_VERSION = "2.7.1"')
    stale, lock, again, agrees, against = checkout.run(
        CHECK, ["spec", "lock"], ["spec", "lock"], CHECK, ["spec", "check", "--against", "HEAD"]
    )
    assert stale.code == 1
    assert stale.out.splitlines()[0] == "spec.lock: 2 entry(s) to lock"
    assert stale.out.splitlines()[2] == (
        '  [lock] current.trader: found "2.7.0", expected "2.7.1": run mlflow-ppo spec lock, and commit the file'
    )
    assert (lock.code, again.code, agrees.code, against.code) == (0, 0, 0, 0)
    assert again.out == "spec.lock: as it was (5 specs, 59 features)\n"


def test_another_lock_file_is_what_is_judged_against(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy2(ROOT / "spec.lock", tmp_path / "spec.lock")
    other = tmp_path / "before.lock"
    text = (ROOT / "spec.lock").read_text()
    digest = json.loads(text)["features"]["rsi_14@1"]
    other.write_text(text.replace(digest, "0" * 64))
    monkeypatch.chdir(tmp_path)
    assert mlflow_ppo("spec", "check").code == 0
    done = mlflow_ppo("spec", "check", "--against", str(other))
    assert (done.code, done.out.splitlines()[0]) == (1, f"spec.lock against {other}: 1 bump(s) owed")
    refused = mlflow_ppo("spec", "lock", "--against", "before.lock", "--format", "json")
    assert (refused.code, refused.json["written"], places(refused.json["findings"])) == (
        1,
        False,
        ["feature features.rsi_14@1"],
    )


def test_a_new_feature_and_a_new_spec_of_it_owe_a_trader_that_computes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy2(ROOT / "spec.lock", tmp_path / "spec.lock")
    before = json.loads((ROOT / "spec.lock").read_text())
    for section, entry in (("features", "position_size@1"), ("specs", "ppo:2.7.0"), ("matrix", "2.7.0")):
        del before[section][entry]
    (tmp_path / "before.lock").write_text(json.dumps(before))
    monkeypatch.chdir(tmp_path)
    done = mlflow_ppo("spec", "check", "--against", "before.lock", "--format", "json")
    assert places(done.json["findings"]) == ["trader features.position_size@1", "model specs.ppo:2.7.0.requires_trader"]
    assert done.json["findings"][1]["expected"] == "one above 2.7.0, which doesn't compute position_size@1"


def test_what_is_new_since_a_revision_may_still_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, install: Install
) -> None:
    """A team's repository: its own features, in a branch that isn't merged yet."""
    monkeypatch.chdir(tmp_path)
    assert mlflow_ppo("spec", "lock").out == "spec.lock: written (5 specs, 59 features)\n"
    for command in (["git", "init", "--quiet"], ["git", "add", "spec.lock"], COMMIT):
        subprocess.run(command, check=True)
    install(Package())
    missing = mlflow_ppo("spec", "check", "--format", "json").json["findings"]
    assert places(missing) == [
        "lock features.acme/spread@1",
        "lock features.acme/weekend@1",
        "lock packages.acme-features",
        "lock specs.acme:1.0.0",
    ]
    assert mlflow_ppo("spec", "lock").code == 0
    install(Package(source=ACME.replace("window.low.min()", "window.low.max()")))
    assert mlflow_ppo("spec", "lock").code == 1
    assert mlflow_ppo("spec", "lock", "--against", "HEAD").out == "spec.lock: written (6 specs, 61 features)\n"
    assert mlflow_ppo("spec", "check").code == 0
    assert mlflow_ppo("spec", "check", "--against", "HEAD").code == 0


def test_a_branch_may_be_called_like_a_file_or_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy2(ROOT / "spec.lock", tmp_path / "spec.lock")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "live").mkdir()
    git = (["init", "--quiet"], ["add", "."], COMMIT[1:], ["branch", "release/2.7"], ["branch", "live"])
    for words in git:
        subprocess.run(["git", *words], check=True)
    for branch in ("release/2.7", "live"):
        done = mlflow_ppo("spec", "check", "--against", branch)
        assert (done.code, done.out.partition(":")[0]) == (0, f"spec.lock against {branch}")
    for command in ("check", "lock"):
        empty = mlflow_ppo("spec", command, "--against", "")
        assert (empty.code, empty.out) == (2, "")
        assert empty.err == "Error: --against: found '', expected a git revision, or a file that is a spec.lock\n"


@pytest.mark.parametrize("base", ["", "src"])
def test_the_sources_of_a_team_are_not_judged_by_an_installed_copy(
    base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, install: Install
) -> None:
    """Installed without --editable, a change of the sources would go unseen."""
    install(Package())
    installed = tmp_path / "site-0" / "acme_of_tests.py"
    team = tmp_path / "team"
    here = team / base / "acme_of_tests.py"
    here.parent.mkdir(parents=True)
    monkeypatch.chdir(team)
    assert mlflow_ppo("spec", "lock").code == 0
    here.write_text(ACME.replace("window.low.min()", "window.low.max()"))
    for command in ("check", "lock"):
        done = mlflow_ppo("spec", command)
        assert (done.code, done.out) == (2, "")
        assert done.err == (
            f"Error: acme-features 1.2.0: found the code of {installed}, expected that of {here}, which is developed "
            "here: install it so that its sources run (pip install --editable .)\n"
        )
    monkeypatch.syspath_prepend(str(here.parent))
    install()  # nothing more, and what was loaded is forgotten
    assert mlflow_ppo("spec", "check").code == 1


def test_what_can_not_be_compared_is_a_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    none = mlflow_ppo("spec", "check")
    assert (none.code, none.out) == (2, "")
    assert none.err == (
        f"Error: spec.lock: found none in {tmp_path} or its parents, expected the lock of what is developed here: "
        "run mlflow-ppo spec lock in its folder\n"
    )
    shutil.copy2(ROOT / "spec.lock", tmp_path / "spec.lock")
    outside = mlflow_ppo("spec", "check", "--against", "HEAD")
    assert outside.code == 2
    assert "Error: --against: git answers 'fatal: not a git repository" in outside.err
    folder = mlflow_ppo("spec", "check", "--against", str(tmp_path))
    assert folder.err == (
        f"Error: --against: found '{tmp_path}', expected a git revision, or a file that is a spec.lock\n"
    )
    without = mlflow_ppo("spec", "check", "--against", "HEAD", PATH=str(tmp_path))
    assert without.err == "Error: --against: found no program git, expected one: install it, or name a file\n"
    subprocess.run(["git", "init", "--quiet"], check=True)
    (tmp_path / "other").write_text("")
    for command in (["git", "add", "other"], COMMIT):
        subprocess.run(command, check=True)
    absent = mlflow_ppo("spec", "check", "--against", "HEAD")
    assert absent.err == (
        f"Error: --against: found no spec.lock in {tmp_path} at HEAD, expected a revision that has one: "
        "the change that brings it in can only be checked without --against\n"
    )
    (tmp_path / "spec.lock").write_text("<<<<<<< ours\n")
    broken = mlflow_ppo("spec", "check")
    assert (broken.code, broken.out) == (2, "")
    assert broken.err.startswith(
        "Error: spec.lock: found no JSON (Expecting value: line 1 column 1 (char 0)), expected"
    )


def test_a_checkout_is_not_judged_by_code_from_elsewhere(checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(checkout.folder)
    for command in (CHECK, ["spec", "lock"], ["spec", "bump", "trader"]):
        done = mlflow_ppo(*command)
        assert (done.code, done.out) == (2, "")
        assert done.err == (
            f"Error: mlflow_ppo_flavor: found the code of {ROOT / 'mlflow_ppo_flavor'}, expected that of "
            f"{checkout.folder / 'mlflow_ppo_flavor'}: install the checkout (pip install --editable .), "
            f"or run with PYTHONPATH={checkout.folder}\n"
        )
