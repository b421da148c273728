"""Reports: what stands, history, verdicts and the guard itself, over the store; bounded, and in pages."""

from pathlib import Path

import pytest
from sqlalchemy import event

from mlflow_ppo_flavor.contract.keys import SigningKey
from mlflow_ppo_flavor.contract.request import Question
from mlflow_ppo_flavor.contract.seal import Seal
from mlflow_ppo_flavor.registry.snapshot import chunks
from mlflow_ppo_flavor.registry.store import GuardMixin, open_store
from mlflow_ppo_flavor.version import VERSION
from tests.registry import databases
from tests.registry.filling import announce_all, fill
from tests.registry.model_folders import announcement
from tests.registry.operating import Folders, announce, refused, register


@pytest.fixture
def desk(store: GuardMixin, folders: Folders) -> GuardMixin:
    """A model of versions 1 (2.6.0), 2 and 3 (2.7.0): a trader 2.6.0 and one 2.7.0 load version 1 by Production."""
    register(store, folders, "2.6.0", "2.7.0", "2.7.0")
    announce(store, announcement("m", trader_id="old", version="2.6.0"))
    announce(store, announcement("m", trader_id="new", paper=False))
    store.transition_model_version_stage("m", 1, "Production", False)
    store.set_registered_model_alias("m", "unprotected", 3)
    return store


def test_the_guard_says_what_it_is_set_to(store: GuardMixin) -> None:
    told = store.report("guard")
    assert told == {
        "ppo": {
            "guarded": True,
            "version": VERSION,
            "registry_id": store.setting.registry_id,
            "public_key": None,
            "policy": {},
            "database": "sqlite",
            "artifacts": "not frozen",
            "page": False,
            "unread": 0,
            "adopted": False,
        }
    }


def test_the_guard_tells_its_key_its_policy_and_what_it_hasnt_read(
    tmp_path: Path, folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = SigningKey.generate()
    key.write(tmp_path / "key.pem")
    (tmp_path / "policy.yaml").write_text("protected_aliases: [champion]\n")
    monkeypatch.setenv("MLFLOW_PPO_SIGNING_KEY_FILE", str(tmp_path / "key.pem"))
    monkeypatch.setenv("MLFLOW_PPO_POLICY_FILE", str(tmp_path / "policy.yaml"))
    store = databases.guarded(tmp_path)
    register(store, folders, "2.7.0", "missing")
    store.set_registered_model_alias("m", "champion", 1)
    told = store.report("guard")["ppo"]
    assert (told["public_key"], told["policy"]) == (key.public.pem, {"protected_aliases": ["champion"]})
    assert (told["unread"], told["adopted"]) == (1, True)
    assert [each["label"] for each in store.report("standing")["m"]["references"]] == ["@champion"]
    store.engine.dispose()


def test_what_stands_is_judged_for_each_trader(desk: GuardMixin) -> None:
    report = desk.report("standing")["m"]
    assert [each["reference"] for each in report["references"]] == ["m/Production"], "an unprotected alias isn't told"
    reference = report["references"][0]
    assert (reference["version"], reference["mode"]) == (1, "block")
    assert [(c["trader_id"], c["version"], c["allowed"], c["paper"]) for c in reference["cells"]] == [
        ("old", 1, True, True),
        ("new", 1, True, False),
    ]
    assert [(t["trader_id"], t["owner"]) for t in reference["traders"]] == [("new", ""), ("old", "")]
    assert (reference["verdict"]["sequence"], reference["verdict"]["sealed"]) == (1, False)
    assert [(v["version"], v["spec"], v["stage"]) for v in report["versions"]] == [(1, "2.6.0", "Production")]


def test_the_newest_versions_are_judged_where_they_are_asked_for(desk: GuardMixin) -> None:
    report = desk.report("standing", versions=2)["m"]
    cells = report["references"][0]["cells"]
    assert [(c["version"], c["trader_id"], c["allowed"]) for c in cells] == [
        (1, "old", True),
        (1, "new", True),
        (3, "old", False),
        (3, "new", True),
        (2, "old", False),
        (2, "new", True),
    ]
    assert {f["code"] for f in cells[2]["findings"]} == {"trader_version", "feature"}
    assert [v["version"] for v in report["versions"]] == [3, 2, 1]


def test_nobody_announced_is_told_with_who_stands_for_them(store: GuardMixin, folders: Folders) -> None:
    register(store, folders, "2.7.0", "missing")
    store.transition_model_version_stage("m", 1, "Production", False)
    cell = store.report("standing", versions=1)["m"]["references"][0]["cells"]
    assert [(c["default"], c["trader_version"], c["allowed"]) for c in cell] == [
        (True, "2.7.0", True),
        (True, "2.7.0", False),
    ]
    assert cell[1]["findings"][1]["found"] == "its contract hasn't been read yet"


def test_history_comes_newest_first_in_pages_and_of_one_reference(desk: GuardMixin) -> None:
    refused(lambda: desk.transition_model_version_stage("m", 2, "Production", False))
    announce(desk, announcement("m", "@live", trader_id="canary"))
    rows = desk.report("history")["m"]["rows"]
    assert [row["operation"]["kind"] for row in rows] == [
        "announce",
        "transition",
        "transition",
        "announce",
        "announce",
    ]
    assert [row["allowed"] for row in rows] == [True, False, True, True, True]
    assert rows[1]["fact"].startswith("Refused: m version 2 can't become Production: trader old (2.6.0) can't run it")
    assert {finding["code"] for finding in rows[1]["findings"]} == {"trader_version", "feature"}
    first = desk.report("history", limit=2)["m"]
    second = desk.report("history", limit=2, before=first["next"])["m"]
    assert first["rows"] + second["rows"] == rows[:4]
    only = desk.report("history", reference="@live")["m"]
    assert [row["operation"]["trader_id"] for row in only["rows"]] == ["canary"]
    assert desk.report("history", reference="Production", limit=2)["m"]["rows"] == rows[1:3]


def test_a_deleted_model_has_a_history_still(desk: GuardMixin) -> None:
    desk.delete_registered_model("m")
    assert desk.report("history")["m"]["rows"][0]["operation"]["kind"] == "delete model"


def test_verdicts_are_the_seals_of_what_was_allowed_last(
    tmp_path: Path, folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = SigningKey.generate()
    key.write(tmp_path / "key.pem")
    monkeypatch.setenv("MLFLOW_PPO_SIGNING_KEY_FILE", str(tmp_path / "key.pem"))
    store = databases.guarded(tmp_path)
    register(store, folders, "2.6.0", "2.7.0")
    for version in (1, 2):
        store.transition_model_version_stage("m", version, "Production", False)
    store.transition_model_version_stage("m", 1, "Staging", False)
    told = store.report("verdict")["m"]
    assert set(told) == {"Production", "Staging"}
    seal = Seal.from_dict(told["Production"])
    assert key.public.verifies(seal)
    assert (seal.verdict.version, seal.verdict.sequence, seal.verdict.reference.label) == (2, 2, "Production")
    assert set(store.report("verdict", reference="Staging")["m"]) == {"Staging"}
    store.transition_model_version_stage("m", 1, "Archived", False)
    assert set(store.report("verdict")["m"]) == {"Production"}, "an emptied reference has no seal"
    store.engine.dispose()


def test_a_question_travels_with_its_options() -> None:
    question = Question("audit", limit=7, after="@a b".replace(" ", "-"), reference="Production", versions=3)
    assert question.value == "audit?limit=7&after=%40a-b&reference=Production&versions=3"
    assert Question.parse(question.value) == question


@pytest.mark.parametrize("report", ["standing", "audit", "verdict"])
@pytest.mark.parametrize("models", [1, 100])
def test_three_times_as_many_references_are_no_more_queries(
    report: str, models: int, tmp_path: Path, folders: Folders
) -> None:
    """In as many queries, however many models they belong to."""
    counts = []
    for count in (1, 3):
        store = open_store(f"ppo:{databases.fresh(tmp_path, f'{count}.db')}")
        fill(store.engine, [Path(folders["2.7.0"])] * (100 * count), models=models)
        announce_all(store.engine, 100 * count, models=models)
        statements: list[str] = []

        def hear(_: object, __: object, statement: str, *rest: object, heard: list[str] = statements) -> None:
            heard.append(statement)

        event.listen(store.engine, "before_cursor_execute", hear)
        assert len(store.report(report, limit=1_000)) == models
        counts.append(len(statements))
        store.engine.dispose()
    assert counts[0] == counts[1] < 32


def test_chunks_are_all_the_items_in_order() -> None:
    assert list(chunks(range(5), 2)) == [[0, 1], [2, 3], [4]]
    assert list(chunks([])) == []
