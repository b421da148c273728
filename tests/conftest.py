"""What every test shares: Hypothesis profiles from the tier, and skips that nobody can overlook."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

import training  # noqa: F401 it tells OpenMP, before torch is imported, to wait without spinning
from tests import tiers

# Short runs are derandomised: the same tree gives the same result. Long runs look for new counterexamples and
# print how to replay them.
settings.register_profile(
    tiers.TIER,
    max_examples=tiers.EXAMPLES,
    stateful_step_count=tiers.STATEFUL_STEPS,
    deadline=None,
    derandomize=tiers.TIER == "short",
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(tiers.TIER)


def skip_reasons(reports: list[pytest.TestReport]) -> Iterator[str]:
    """One line for each skipped test: which, and why."""
    for report in reports:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        yield f"{report.nodeid}: {reason.removeprefix('Skipped: ')}"


def pytest_report_header() -> str:
    """Tell the tier, since the counts of the whole run follow from it."""
    return f"tier: {tiers.TIER} ({tiers.EXAMPLES} examples a property; {tiers.TIER_VARIABLE}=long for all)"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name every skipped test in red: what didn't run isn't known to work."""
    skipped = terminalreporter.stats.get("skipped", [])
    if not skipped:
        return
    terminalreporter.section(f"{len(skipped)} NOT RUN", sep="!", red=True, bold=True)
    for line in skip_reasons(skipped):
        terminalreporter.write_line(line, red=True)
