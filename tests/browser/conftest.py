"""One guarded server with example models and one browser for all tests of this folder."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.registry.conftest import folders as folders
from tests.server.servers import Server, serving

if TYPE_CHECKING:
    from tests.browser.browsers import Browser

# A name that would be run where a page didn't escape it: MLflow takes any but / and :.
ATTACK = "<img src=x onerror=document.title='run'>"
TALL = (1280, 1400)


@pytest.fixture(scope="session")
def chromium() -> Iterator["Browser"]:
    """The browser."""
    pytest.importorskip("selenium", reason="no selenium: install mlflow-ppo-flavor[dev]")
    from tests.browser import browsers

    if browsers.missing():
        pytest.skip(browsers.missing())
    with browsers.browsing() as started:
        yield started


@pytest.fixture
def browser(chromium: "Browser") -> "Browser":
    """The browser, its window as every test finds it."""
    chromium.size(*TALL)
    chromium.hosts_asked(), chromium.complaints()
    return chromium


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, folders: dict[str, str]) -> Iterator[Server]:
    """Models `desk` and `shop`: versions 1 and 3 need trader 2.4.0, 2 needs 2.7.0; Production loads 1, live-1 (2.6.0)
    and live-2 (2.7.0) announced for it, canary-1 (2.6.0) for @canary. A third one has a name like an attack.

    Only `shop` may be changed by tests.
    """
    with serving(tmp_path_factory.mktemp("pages")) as started:
        for model in ("shop", "desk"):
            started.register(model, folders["2.6.0"], folders["2.7.0"], folders["2.6.0"])
            for trader, version, label in (
                ("live-1", "2.6.0", "Production"),
                ("live-2", "2.7.0", "Production"),
                ("canary-1", "2.6.0", "@canary"),
            ):
                assert started.announce(model, label, version=version, trader_id=trader).status == 200
            assert started.promote(model, "1").status == 200
            assert started.promote(model, "2").status == 409
        started.register(ATTACK, folders["2.6.0"])
        yield started
