"""What the wheel and the sdist hold."""

import tarfile
import zipfile
from email.parser import Parser
from pathlib import PurePosixPath

import pytest

from mlflow_ppo_flavor.version import VERSION
from tests.packaging.conftest import PACKAGES, ROOT, Distribution

pytestmark = pytest.mark.packaging
EXTRAS = {"model", "onnx", "train", "live", "demo", "ray", "spark", "dev"}


def sources(distribution: Distribution) -> set[str]:
    """Every module of the tree, as a path inside a distribution."""
    tree = distribution.tree
    return {path.relative_to(tree).as_posix() for name in PACKAGES for path in (tree / name).rglob("*.py")}


def page_files(distribution: Distribution) -> set[str]:
    """The templates, styles and scripts of the gate's page, as paths inside a distribution."""
    page = distribution.tree / "mlflow_ppo_flavor" / "registry" / "page"
    files = [path for path in page.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")]
    assert len(files) == 6
    return {path.relative_to(distribution.tree).as_posix() for path in files}


def wheel_names(distribution: Distribution) -> set[str]:
    with zipfile.ZipFile(distribution.wheel) as wheel:
        return set(wheel.namelist())


def test_wheel_is_pure_and_of_this_version(distribution: Distribution) -> None:
    assert distribution.wheel.name == f"mlflow_ppo_flavor-{VERSION}-py3-none-any.whl"


def test_wheel_holds_every_module_of_the_three_packages_the_page_and_nothing_else(distribution: Distribution) -> None:
    names = wheel_names(distribution)
    typed = {f"{name}/py.typed" for name in PACKAGES}
    assert {name for name in names if ".dist-info/" not in name} == (
        sources(distribution) | typed | page_files(distribution)
    )


def test_wheel_tells_its_licence_python_and_extras(distribution: Distribution) -> None:
    folder = f"mlflow_ppo_flavor-{VERSION}.dist-info"
    with zipfile.ZipFile(distribution.wheel) as wheel:
        metadata = Parser().parsestr(wheel.read(f"{folder}/METADATA").decode())
        licence = wheel.read(f"{folder}/licenses/LICENSE")
    assert licence == (ROOT / "LICENSE").read_bytes()
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert set(metadata.get_all("Provides-Extra", [])) == EXTRAS


def test_sdist_holds_the_sources_tests_and_tools_and_no_leftovers(distribution: Distribution) -> None:
    with tarfile.open(distribution.sdist) as sdist:
        paths = [PurePosixPath(member.name) for member in sdist.getmembers() if member.isfile()]
    assert {path.parts[0] for path in paths} == {f"mlflow_ppo_flavor-{VERSION}"}
    names = {PurePosixPath(*path.parts[1:]).as_posix() for path in paths}
    wanted = {
        "LICENSE",
        "README.md",
        "CHANGELOG.md",
        "Makefile",
        "constraints.txt",
        "setup.cfg",
        "pyproject.toml",
        "spec.lock",
    }
    assert names >= sources(distribution) | wanted | {"tests/conftest.py", "tests/tiers.py"}
    tops = {name.partition("/")[0] for name in names}
    assert tops <= {*PACKAGES, *wanted, "tests", "MANIFEST.in", "PKG-INFO", "mlflow_ppo_flavor.egg-info"}
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]
