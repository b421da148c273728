"""The fixture that installs own packages, for the tests of this folder."""

from tests.own_packages import install  # noqa: F401 a fixture
