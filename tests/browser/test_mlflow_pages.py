"""MLflow's own pages before the gate: what a person sees of a refusal, and of a version's contract."""

from typing import TYPE_CHECKING

import pytest
from mlflow import MlflowClient

from mlflow_ppo_flavor.registry.fact import MOST_SHOWN
from tests.server.servers import Server

if TYPE_CHECKING:
    from tests.browser.browsers import Browser

pytestmark = [pytest.mark.browser, pytest.mark.server]
CONFLICT = "RESOURCE_CONFLICT: "
WHY = "can't run it: model 2.7.0 requires trader >=2.7.0"
STAGE = "[data-component-id='codegen_mlflow_app_src_model-registry_constants.tsx_37']"
ALIAS = "[data-component-id^='codegen_mlflow_app_src_model-registry_components_aliases_modelversiontablealiasescell']"


def test_a_refused_stage_tells_why_in_the_old_page(server: Server, browser: "Browser") -> None:
    browser.choose_registry_page(server.url, old=True)
    browser.open(f"{server.url}/#/models/shop/versions/2")
    browser.click(STAGE, "None")
    browser.click("[role=menuitem]", "Production")
    browser.click("[data-component-id='mlflow.model_registry.stage_transition_modal_v2.footer.ok']")
    said = browser.wait("[role=alert]", "Refused").text.removeprefix(CONFLICT)
    assert said[:MOST_SHOWN].startswith("Refused: shop version 2 can't become Production: trader live-1 (2.6.0)")
    assert WHY in said[:MOST_SHOWN]
    assert server.production("shop") == ["1"]


def test_a_refused_alias_tells_why_in_the_new_page(server: Server, browser: "Browser") -> None:
    browser.choose_registry_page(server.url, old=False)
    browser.open(f"{server.url}/#/models/shop")
    browser.wait(ALIAS)
    # the second of the newest versions first: version 2
    browser.until(lambda: len(browser.all(ALIAS)) == 3, "three versions")
    browser.all(ALIAS)[1].click()
    assert browser.wait("[role=dialog]", "alias for model version 2")
    browser.wait("[role=dialog] input").send_keys("canary\ue007")
    browser.click("[data-component-id='mlflow.edit-aliases-modal.save-button']")
    said = browser.wait("[role=dialog] [role=alert]", "Refused").text
    shown = said[said.index("Refused") :][:MOST_SHOWN]
    assert shown.startswith("Refused: shop version 2 can't become @canary: trader canary-1 (2.6.0)")
    assert WHY in shown
    assert MlflowClient(server.url, server.url).get_registered_model("shop").aliases == {}


@pytest.mark.parametrize("old", [True, False], ids=["old page", "new page"])
def test_a_version_shows_its_contract_and_the_last_verdict(server: Server, browser: "Browser", old: bool) -> None:
    browser.choose_registry_page(server.url, old=old)
    browser.open(f"{server.url}/#/models/shop/versions/2")
    browser.wait("body", "Last verdict")
    shown = " ".join(browser.text().split())
    version = MlflowClient(server.url, server.url).get_model_version("shop", "2")
    assert "PPO policy 2.7.0, 59 features × 100 bars, 7 actions, requires trader >=2.7.0" in shown
    assert "0 HOLD, 1 BUY_25%, 2 BUY_50%, 3 BUY_75%, 4 SELL_25%, 5 SELL_50%, 6 SELL_75%" in shown
    assert version.tags["ppo.digest"] in shown
    assert version.tags["ppo.verdict"] in shown
    assert "Refused: shop version 2 can't become" in version.tags["ppo.verdict"]
