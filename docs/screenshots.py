"""The pictures of the docs: `python docs/screenshots.py` starts a guarded server with example models and takes them.

It needs what the tests need (`pip install 'mlflow-ppo-flavor[dev]'`, chromium and chromedriver) and writes
docs/pictures/*.png.
"""

from __future__ import annotations

import sys
import tempfile
import time
from io import BytesIO
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
# its servers, browser and example models are the tests' own
sys.path.insert(0, str(ROOT))

from mlflow_ppo_flavor.contract.keys import SigningKey  # noqa: E402
from tests.browser.browsers import Browser, browsing, missing  # noqa: E402
from tests.registry.model_folders import ppo_flavors, trained, write_mlmodel  # noqa: E402
from tests.server.servers import Server, serving  # noqa: E402

PICTURES = ROOT / "docs" / "pictures"
LARGEST = 200_000
MODEL = "ppo-aapl"
STAGE = "[data-component-id='codegen_mlflow_app_src_model-registry_constants.tsx_37']"
ALIAS = "[data-component-id^='codegen_mlflow_app_src_model-registry_components_aliases_modelversiontablealiasescell']"


def main() -> None:
    """Take every picture."""
    if missing():
        sys.exit(missing())
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        key = place / "signing-key.pem"
        SigningKey.generate().write(key)
        with serving(place / "server", "--signing-key", str(key)) as server, browsing() as browser:
            set_up(server, place / "models")
            for take in (gate_page, gate_page_narrow, refused_stage, refused_alias, version_page):
                take(server, browser)


def set_up(server: Server, folder: Path) -> None:
    """Two models; traders of which one is behind; a promotion allowed and one refused."""
    folders = {
        version: str(write_mlmodel(folder / version, ppo_flavors(trained(version))))
        for version in ("2.3.0", "2.6.0", "2.7.0")
    }
    server.register(MODEL, *folders.values())
    server.register("ppo-msft", folders["2.6.0"])
    server.announce(MODEL, version="2.6.0", trader_id="live-1")
    server.announce(MODEL, version="2.7.0", trader_id="live-2")
    server.announce(MODEL, "@canary", version="2.6.0", trader_id="canary-1")
    server.announce("ppo-msft", version="2.6.0", trader_id="live-3")
    for model, version in ((MODEL, "1"), (MODEL, "2"), ("ppo-msft", "1"), (MODEL, "3")):
        server.promote(model, version)


def gate_page(server: Server, browser: Browser) -> None:
    """The gate's page: who may run what, with the findings of one refusal opened."""
    browser.size(1280, 1180)
    browser.open(f"{server.url}/ppo/")
    browser.click(".matrix summary")
    keep(browser, "gate-page")


def gate_page_narrow(server: Server, browser: Browser) -> None:
    """The same in dark on a telephone's width."""
    browser.size(400, 1000, scheme="dark")
    browser.open(f"{server.url}/ppo/?model={MODEL}")
    browser.wait("#count", "1 of 2")
    keep(browser, "gate-page-narrow")


def refused_stage(server: Server, browser: Browser) -> None:
    """MLflow's old registry page: a stage that the gate refused."""
    browser.size(1280, 720)
    browser.choose_registry_page(server.url, old=True)
    browser.open(f"{server.url}/#/models/{MODEL}/versions/3")
    close_assistant(browser)
    browser.click(STAGE, "None")
    browser.click("[role=menuitem]", "Production")
    browser.click("[data-component-id='mlflow.model_registry.stage_transition_modal_v2.footer.ok']")
    browser.wait("[role=alert]", "Refused")
    # it fades in, and out again after three seconds
    time.sleep(0.6)
    keep(browser, "refused-stage")


def refused_alias(server: Server, browser: Browser) -> None:
    """MLflow's new registry page: an alias that the gate refused."""
    browser.size(1280, 720)
    browser.choose_registry_page(server.url, old=False)
    browser.open(f"{server.url}/#/models/{MODEL}")
    browser.until(lambda: len(browser.all(ALIAS)) == 3, "three versions")
    browser.all(ALIAS)[0].click()
    browser.wait("[role=dialog] input").send_keys("canary\ue007")
    browser.click("[data-component-id='mlflow.edit-aliases-modal.save-button']")
    browser.wait("[role=dialog] [role=alert]", "Refused")
    keep(browser, "refused-alias")


def version_page(server: Server, browser: Browser) -> None:
    """A version's page: what the gate writes of its contract and its last verdict."""
    browser.size(1280, 860)
    browser.choose_registry_page(server.url, old=False)
    browser.open(f"{server.url}/#/models/{MODEL}/versions/3")
    browser.wait("body", "Last verdict")
    keep(browser, "version-page")


def close_assistant(browser: Browser) -> None:
    """Close the panel that MLflow opens beside its pages; it stays closed."""
    browser.click("[data-component-id='mlflow.assistant.chat_panel.close']")


def keep(browser: Browser, name: str) -> None:
    """The window as a small PNG."""
    picture = Image.open(BytesIO(browser.driver.get_screenshot_as_png())).convert("RGB")
    path = PICTURES / f"{name}.png"
    # 128 colours are enough for pages
    picture.quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)
    if path.stat().st_size > LARGEST:
        sys.exit(f"{path}: {path.stat().st_size} bytes, at most {LARGEST} may go into the docs")
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
