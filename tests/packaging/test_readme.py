"""What README.md says exists: its commands, options, make targets, files and names."""

import ast
import re
import shlex
import sys
from functools import cache

import click
import pytest

import mlflow_ppo_flavor
from mlflow_ppo_flavor.cli.main import main
from tests.packaging.conftest import ROOT, run

pytestmark = pytest.mark.packaging
README = (ROOT / "README.md").read_text()


def blocks(text: str, language: str) -> list[str]:
    """The fenced code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)


def commands(text: str) -> list[list[str]]:
    """The words of every command in the bash blocks: comments, continued lines and variables set in front aside."""
    lines = [line for block in blocks(text, "bash") for line in block.replace("\\\n", " ").splitlines()]
    words = [shlex.split(line, comments=True) for line in lines]
    return [line[sum(1 for word in line if re.fullmatch(r"[A-Z_]+=.*", word)) :] for line in words if line]


def options(words: list[str]) -> set[str]:
    return {word.partition("=")[0] for word in words if word.startswith("--")}


def faults_of_make(words: list[str]) -> list[str]:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    return [f"make {word}: no such target" for word in words[1:] if "=" not in word and word not in targets]


def faults_of_command(words: list[str]) -> list[str]:
    """Follow the words of an `mlflow-ppo` command through its groups; every option must be the last one's."""
    command: click.Command = main
    path, rest = "mlflow-ppo", words[1:]
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        found = command.get_command(click.Context(command), rest[0])
        if found is None:
            return [f"{path}: no such command {rest[0]}"]
        command, path, rest = found, f"{path} {rest[0]}", rest[1:]
    if command.context_settings.get("ignore_unknown_options"):
        return []
    known = {"--help"} | {o for p in command.params for o in (*p.opts, *p.secondary_opts)}
    return [f"{path}: no such option {option}" for option in sorted(options(rest) - known)]


@cache
def help_of(module: str) -> str:
    """What `python -m … --help` prints."""
    return run(sys.executable, "-m", module, "--help", cwd=ROOT).stdout


def faults_of_module(words: list[str]) -> list[str]:
    """A `python -m …` of ours helps, and its help names every option."""
    told = help_of(words[2])
    return [f"{' '.join(words[:3])}: no such option {option}" for option in options(words) if option not in told]


def faults_of_shell(text: str) -> list[str]:
    """Every command that the text's bash blocks name and that doesn't exist."""
    faults = []
    for words in commands(text):
        if words[0] == "make":
            faults += faults_of_make(words)
        elif words[0] == "mlflow-ppo":
            faults += faults_of_command(words)
        elif words[:2] == ["python", "-m"] and words[2].partition(".")[0] in ("training", "live"):
            faults += faults_of_module(words)
    return faults


def package_names(tree: ast.AST) -> set[str]:
    """The names by which a block calls the package; `ppo` is known from the first block on."""
    imports = [alias for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    return {"ppo"} | {alias.asname or alias.name for alias in imports if alias.name == "mlflow_ppo_flavor"}


def faults_of_python(text: str) -> list[str]:
    """Every name of the package that the text's Python blocks use and that doesn't exist; SyntaxError as it comes."""
    trees = [ast.parse(block) for block in blocks(text, "python")]
    used = [
        node.attr
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in package_names(tree)
    ]
    return [f"mlflow_ppo_flavor has no {name}" for name in used if not hasattr(mlflow_ppo_flavor, name)]


def test_every_command_exists() -> None:
    assert {"demo", "test"} <= {word for words in commands(README) if words[0] == "make" for word in words}
    assert faults_of_shell(README) == []
    assert faults_of_shell((ROOT / "docs" / "guarding.md").read_text()) == []


def test_every_python_name_exists() -> None:
    assert faults_of_python(README) == []


def test_every_linked_file_exists() -> None:
    for page in (ROOT / "README.md", ROOT / "docs" / "guarding.md", ROOT / "docs" / "security.md"):
        links = re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text())
        assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_named_extra_exists() -> None:
    setup = (ROOT / "setup.cfg").read_text()
    extras = set(re.findall(r"mlflow-ppo-flavor\[(\w+)\]", README))
    assert extras
    assert [extra for extra in sorted(extras) if f"\n{extra} =\n" not in setup] == []


def test_what_does_not_exist_is_found() -> None:
    text = (
        "```bash\nmake tset  # typo\nPYTHON=python3 make test\nmlflow-ppo promotee x\nmlflow-ppo --versoin\n```\n"
        "```python\nimport mlflow_ppo_flavor as flavor\nflavor.MODEL_SPECS\nflavor.MODEL_SPEC\nppo.nothing()\n```\n"
    )
    assert faults_of_shell(text) == [
        "make tset: no such target",
        "mlflow-ppo: no such command promotee",
        "mlflow-ppo: no such option --versoin",
    ]
    assert faults_of_python(text) == ["mlflow_ppo_flavor has no MODEL_SPEC", "mlflow_ppo_flavor has no nothing"]
