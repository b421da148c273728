"""The policy's file: read whole, or refused with the file and the place of what is wrong."""

import os
from pathlib import Path

import pytest

from mlflow_ppo_flavor.contract.reference import Reference
from mlflow_ppo_flavor.errors import SpecError
from mlflow_ppo_flavor.registry.policy import Policy
from mlflow_ppo_flavor.registry.policy_file import POLICY_FILE_VARIABLE, policy_from_environment, read_policy
from mlflow_ppo_flavor.registry.terms import Clause, Terms
from mlflow_ppo_flavor.registry.threshold import Threshold

GOLDEN = Path(__file__).parents[1] / "golden" / "policy.yaml"


def threshold(text: str) -> Threshold:
    return Threshold.parse(text)


def test_the_golden_file_is_read_as_it_was_written() -> None:
    assert read_policy(GOLDEN) == Policy(
        protected_aliases=("champion", "canary"),
        traders=("live-*", "desk-1"),
        everywhere=Clause(
            "block", ("2.6.0", "2.7.0"), {"sharpe": threshold(">=0.5")}, {"reviewed": None}, False, 0
        ),
        references={
            "Production": Clause(require_attestation=True, approvals=1),
            "Staging": Clause("warn", metrics={"sharpe": threshold(">=0,<10")}),
            "@canary": Clause("warn-until-announced", ("2.7.0",)),
            "ppo-aapl/Production": Clause(
                metrics={"max_drawdown": threshold("<0.2")}, required_tags={"reviewed": "yes", "risk": None},
                approvals=2,
            ),
            "ppo-aapl@beta": Clause(),
        },
    )  # fmt: skip


def test_what_the_golden_file_asks_of_references() -> None:
    policy = read_policy(GOLDEN)
    both = {"sharpe": threshold(">=0.5"), "max_drawdown": threshold("<0.2")}
    traders = ("2.6.0", "2.7.0")
    assert policy.terms(Reference("ppo-aapl", "Production")) == Terms(
        "block", traders, both, {"reviewed": "yes", "risk": None}, True, 2
    )
    assert policy.terms(Reference("ppo-ibm", "Staging")) == Terms("warn", traders, {"sharpe": threshold(">=0,<10")})
    assert policy.terms(Reference("ppo-ibm", "@canary")).default_traders == ("2.7.0",)
    assert {each.label for each in policy.protects("ppo-aapl")} == {"@champion", "@canary", "@beta"}
    assert policy.names("ppo-aapl")
    assert not policy.names("ppo-ibm")


def refusal(path: Path, text: str | bytes) -> str:
    """The message that refuses a file of this text, without the file's name."""
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SpecError) as caught:
        read_policy(path)
    start = f"{path}: "
    assert str(caught.value).startswith(start)
    return str(caught.value).removeprefix(start)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "policy: found None, expected a mapping"),
        ("# nothing\n", "policy: found None, expected a mapping"),
        ("- mode: warn", "policy: found [{'mode': 'warn'}], expected a mapping"),
        ("mode: warn\nmode: block", "mode: found a second time, on line 2, expected each key once"),
        (
            "references:\n  Production: {approvals: 1}\n  'Production': {}\n",
            "references.Production: found a second time, on line 3, expected each key once",
        ),
        (
            "references: {Production: {metrics: {a: '>1', a: '>0'}}}",
            "references.Production.metrics.a: found a second time, on line 1, expected each key once",
        ),
        ("references: {m/Production: {approvals: -1}}",
         "references.m/Production.approvals: found -1, expected a whole number in [0, 100]"),
        ("required_tags: {reviewed: yes}", "required_tags.reviewed: found True, expected a text: write it in quotes"),
        ("default_traders: [2.7]", "default_traders[0]: found 2.7, expected a version such as 2.7.0 (PEP 440)"),
        ("x: {<<: {mode: warn}}", "policy: found a merge key (<<), expected every value written out"),
        ("x: &x [*x]", "policy: found more than 100000 values, expected a model's few hundred"),
        ("[" * 70 + "]" * 70, "policy: found values nested more than 64 deep, expected a model's handful of levels"),
    ],
)  # fmt: skip
def test_what_no_policy_says_is_refused_with_file_and_place(tmp_path: Path, text: str, message: str) -> None:
    assert refusal(tmp_path / "policy.yaml", text) == message


@pytest.mark.parametrize(
    "written",
    ["010", "1:30", "0x1F", "0b11", "1_0", "00", "-010", "!!int '010'", "!<tag:yaml.org,2002:int> 1_0"],
)
def test_a_number_that_another_reader_of_yaml_would_read_otherwise_is_refused(tmp_path: Path, written: str) -> None:
    found = written.rpartition(" ")[2].strip("'")
    expected = "a whole number in plain decimal digits: write it so, or in quotes where a text is meant"
    for start, end, path in (
        ("approvals: ", "", "approvals"),
        ("references: {m/Production: {approvals: ", "}}", "references.m/Production.approvals"),
        ("required_tags: {reviewed: ", "}", "required_tags.reviewed"),
        ("default_traders: [", "]", "default_traders[0]"),
    ):
        told = f"{path}: found {found!r}, expected {expected}"
        assert refusal(tmp_path / "policy.yaml", f"{start}{written}{end}") == told
    assert refusal(tmp_path / "policy.yaml", f"{{ {written} : 1}}").startswith(f"{found}: found {found!r}, expected a ")


@pytest.mark.parametrize(("written", "read"), [("0", 0), ("8", 8), ("+8", 8), ("100", 100), ("!!int '8'", 8)])
def test_plain_decimal_numbers_are_read(tmp_path: Path, written: str, read: int) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(f"approvals: {written}\nrequired_tags: {{since: '010', at: \"1:30\"}}\n", encoding="utf-8")
    assert read_policy(path).everywhere == Clause(approvals=read, required_tags={"since": "010", "at": "1:30"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('"\\e[2Jmode": warn', "'\\x1b[2Jmode': found an unknown key, expected one of protected_aliases, "),
        ('"mo\\nde": warn', "'mo\\nde': found an unknown key, expected one of protected_aliases, "),
        ('"a\\e": 1\n"a\\e": 2', "'a\\x1b': found a second time, on line 2, expected each key once"),
        ('references: {"m\\e": {mode: 01}}', "references.'m\\x1b'.mode: found '01', expected a whole number in plain "),
    ],
)
def test_control_characters_in_a_key_are_told_escaped(tmp_path: Path, text: str, message: str) -> None:
    found = refusal(tmp_path / "policy.yaml", text)
    assert found.startswith(message)
    assert found.isprintable()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("mode: [", "ParserError"),
        ("mode: warn\n---\nmode: block", "ComposerError"),
        ("? [mode]\n: warn", "ConstructorError"),
        ("mode: !!python/object/apply:os.system [id]", "ConstructorError"),
        ("mode: 2026-99-99", "ValueError"),
        ("mode: *gone", "ComposerError"),
        (b"\xff\xfe\xff", "ReaderError"),
        (b"\x00", "ReaderError"),
        (b"mode: \xe9", "ReaderError"),
    ],
)
def test_what_is_no_yaml_is_refused(tmp_path: Path, text: str | bytes, told: str) -> None:
    found = refusal(tmp_path / "policy.yaml", text)
    assert found.startswith(f"policy: found no YAML ({told}: ")
    assert found.endswith("), expected a mapping of policy keys")


def test_a_bomb_of_aliases_is_refused(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 30)]
    told = "policy: found more than 100000 values, expected a model's few hundred"
    assert refusal(tmp_path / "policy.yaml", "\n".join(lines)) == told


def test_an_alias_within_bounds_is_read(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("references:\n  Production: &asked {approvals: 1}\n  Staging: *asked\n", encoding="utf-8")
    assert read_policy(path).references == {"Production": Clause(approvals=1), "Staging": Clause(approvals=1)}


def test_a_file_that_is_too_large_or_is_not_there_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    assert refusal(path, "#" * (1024 * 1024 + 1)) == "found more than 1048576 bytes, expected a policy's few hundred"
    for missing, why in ((tmp_path / "none.yaml", "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(SpecError) as caught:
            read_policy(missing)
        assert str(caught.value) == f"{missing}: found no file that can be read ({why}), expected a policy (YAML)"


def test_the_environment_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(POLICY_FILE_VARIABLE, raising=False)
    assert policy_from_environment() == Policy()
    monkeypatch.setenv(POLICY_FILE_VARIABLE, "")
    assert policy_from_environment() == Policy()
    monkeypatch.setenv(POLICY_FILE_VARIABLE, os.fspath(GOLDEN))
    assert policy_from_environment() == read_policy(GOLDEN)
    monkeypatch.setenv(POLICY_FILE_VARIABLE, os.fspath(tmp_path / "gone.yaml"))
    with pytest.raises(SpecError, match=r"gone\.yaml: found no file that can be read"):
        policy_from_environment()
