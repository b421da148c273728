"""`resolution` against a naive registry, changed row by row."""

import copy

import pytest
from hypothesis import given

from mlflow_ppo_flavor.contract.reference import Reference
from mlflow_ppo_flavor.registry.resolution import (
    CreateModel,
    CreateVersion,
    DeleteAlias,
    DeleteModel,
    DeleteVersion,
    Operation,
    RegisteredModel,
    Rename,
    Rollback,
    SetAlias,
    Transition,
    VersionKey,
    Withdraw,
    moves,
    stage_references,
    without_effect,
)
from tests.registry.naive import ALIASES, NAMES, NaiveRegistry, registries, whole_operations

EVERY_REFERENCE = stage_references(NAMES) | {Reference(name, f"@{alias}") for name in NAMES for alias in ALIASES}


@given(registries(), whole_operations())
def test_moves_are_exactly_the_references_that_resolve_elsewhere_in_a_naive_registry(
    registry: NaiveRegistry, operation: Operation
) -> None:
    before = copy.deepcopy(registry)
    found = moves(registry.models(), operation, EVERY_REFERENCE)
    registry.do(operation)
    told = {str(move.reference): (move.before, move.after) for move in found}
    for reference in EVERY_REFERENCE:
        old = before.resolve(reference.model, reference.label)
        new = registry.resolve(reference.model, reference.label)
        was, now = told.get(str(reference), (None, None))
        if str(reference) in told:
            assert (was and was.version) == old
            assert (now and now.version) == new
            assert was != now
        else:
            assert old == new


@given(registries(), whole_operations())
def test_applying_an_operation_gives_the_naive_registry(registry: NaiveRegistry, operation: Operation) -> None:
    after = operation.apply(registry.models())
    registry.do(operation)
    assert after == registry.models()


@given(registries(), whole_operations())
def test_versions_outside_protected_stages_that_the_operation_does_not_name_change_nothing(
    registry: NaiveRegistry, operation: Operation
) -> None:
    models = registry.models()
    lean = {
        name: RegisteredModel(
            name,
            {
                v: stage
                for v, stage in model.stages.items()
                if stage in ("Production", "Staging") or v in operation.versions
            },
            model.aliases,
        )
        for name, model in models.items()
    }
    assert moves(lean, operation, EVERY_REFERENCE) == moves(models, operation, EVERY_REFERENCE)
    assert without_effect(lean, operation) == without_effect(models, operation)


@given(registries(), whole_operations())
def test_without_effect_means_a_move_into_a_protected_stage_that_does_not_load_it(
    registry: NaiveRegistry, operation: Operation
) -> None:
    stays = without_effect(registry.models(), operation)
    was = {(row.model, row.version): row.stage for row in registry.rows}
    registry.do(operation)
    expected = (
        isinstance(operation, Transition)
        and operation.stage in ("Production", "Staging")
        and was.get((operation.model, operation.version)) not in (None, operation.stage)
        and registry.resolve(operation.model, operation.stage) != operation.version
    )
    assert (stays is not None) == expected
    if isinstance(operation, Transition) and stays is not None:
        assert stays == registry.resolve(operation.model, operation.stage) > operation.version


MODELS = {"m": RegisteredModel("m", {1: "Production", 2: "None", 3: "Production"}, {"champion": 3})}


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        (Transition("m", 3, "Archived"), {"m/Production": (3, 1)}),
        (Transition("m", 2, "Production"), {}),
        (Transition("m", 2, "Production", archive_existing=True), {"m/Production": (3, 2)}),
        (Transition("m", 3, "Production"), {}),
        (DeleteVersion("m", 3), {"m/Production": (3, 1), "m@champion": (3, None)}),
        (SetAlias("m", "champion", 1), {"m@champion": (3, 1)}),
        (SetAlias("m", "champion", 3), {}),
        (DeleteModel("m"), {"m/Production": (3, None), "m@champion": (3, None)}),
        (CreateVersion("m", 4), {}),
        (CreateModel("m"), {}),
        (Rollback("m", "Production", 2), {"m/Production": (3, 2)}),
        (Rollback("m", "Production", 1), {"m/Production": (3, 1)}),
        (Rollback("m", "Production", 9), {}),
        (Rollback("m", "@champion", 2), {"m@champion": (3, 2)}),
        (Withdraw("m", "Production", (3,)), {"m/Production": (3, 1)}),
        (Withdraw("m", "Production", (3, 1)), {"m/Production": (3, None)}),
        (Withdraw("m", "Production", (2,)), {}),
        (Withdraw("m", "@champion", (3,)), {"m@champion": (3, None)}),
        (Withdraw("m", "@Champion", (3,)), {}),
    ],
)
def test_what_each_operation_moves(operation: Operation, expected: dict[str, tuple[int | None, int | None]]) -> None:
    protected = stage_references(["m"]) | {Reference("m", "@champion")}
    found = {
        str(move.reference): (move.before and move.before.version, move.after and move.after.version)
        for move in moves(MODELS, operation, protected)
    }
    assert found == expected


def test_an_alias_of_a_version_that_is_not_there_loads_nothing_until_it_is() -> None:
    model = RegisteredModel("m", {3: "Production"}, {"champion": 4, "canary": 5}, frozenset({4, 5}))
    protected = [Reference("m", "@champion"), Reference("m", "@canary")]
    assert [model.resolve(reference) for reference in protected] == [None, None]
    (found,) = moves({"m": model}, CreateVersion("m", 4), protected)
    assert (str(found.reference), found.before, found.after) == ("m@champion", None, VersionKey("m", 4))
    assert moves({"m": model}, CreateVersion("m", 6), protected) == ()
    assert moves({"m": model}, DeleteAlias("m", "champion"), protected) == ()


def test_a_rename_fills_the_references_of_the_new_name_with_versions_of_the_old() -> None:
    found = moves(MODELS, Rename("m", "n"), stage_references(["m", "n"]))
    assert [(str(move.reference), move.before, move.after) for move in found] == [
        ("m/Production", VersionKey("m", 3), None),
        ("n/Production", None, VersionKey("m", 3)),
    ]
    assert moves({**MODELS, "n": RegisteredModel("n", {}, {})}, Rename("m", "n"), stage_references(["m", "n"])) == ()


def test_a_rollback_archives_what_is_above_and_leaves_what_is_below() -> None:
    stages = {1: "Production", 2: "None", 3: "Production", 4: "Production", 5: "Staging"}
    models = {"m": RegisteredModel("m", stages, {})}
    after = Rollback("m", "Production", 2).apply(models)["m"].stages
    assert after == {1: "Production", 2: "Production", 3: "Archived", 4: "Archived", 5: "Staging"}


def test_a_rollback_takes_a_version_out_of_the_other_stage() -> None:
    models = {"m": RegisteredModel("m", {1: "Staging", 2: "Staging", 3: "Production"}, {})}
    found = moves(models, Rollback("m", "Production", 2), stage_references(["m"]))
    assert [(str(move.reference), move.after) for move in found] == [
        ("m/Production", VersionKey("m", 2)),
        ("m/Staging", VersionKey("m", 1)),
    ]


def test_only_going_back_is_judged_by_the_fleet_alone() -> None:
    retreating = [Rollback("m", "Production", 1), Withdraw("m", "Production", (1,))]
    assert all(operation.retreats for operation in retreating)
    assert not any(each.retreats for each in (Transition("m", 1, "Archived"), CreateVersion("m", 1), DeleteModel("m")))


def test_operations_tell_what_they_do() -> None:
    assert Transition("m", 3, "Archived").doing == "moving version 3 to Archived"
    assert SetAlias("m", "champion", 2).doing == "setting @champion to version 2"
    assert Rename("m", "n").doing == "renaming m to n"
    assert Rollback("m", "Production", 2).doing == "rolling Production back to version 2"
    assert Withdraw("m", "@x", ()).doing == "withdrawing @x"
    assert CreateVersion("m", 4).doing == "registering version 4"
    assert CreateModel("m").doing == "registering the model"
    assert Withdraw("m", "Production", (3, 1)).to_dict() == {
        "kind": "withdraw",
        "model": "m",
        "label": "Production",
        "versions": (3, 1),
    }
    assert Transition("m", 3, "Archived").to_dict() == {
        "kind": "transition",
        "model": "m",
        "version": 3,
        "stage": "Archived",
        "archive_existing": False,
    }
