"""A real headless Chromium, driven through chromedriver, and what the tests ask of a page in it."""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import urlparse

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException, WebDriverException
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

SHOWN_WITHIN = 30.0
OLD_REGISTRY_PAGE = "_mlflow_user_setting_dismiss_next_model_registry_ui"
T = TypeVar("T")


def missing() -> str:
    """What a browser test needs and this machine doesn't have; empty where it has both."""
    wanted = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    return f"no {' and no '.join(wanted)} on this machine: apt-get install chromium chromium-driver" if wanted else ""


class Browser:
    """One window. `driver` is selenium's."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, url: str) -> None:
        """Go to a URL; also where only its fragment differs from the present one."""
        self.driver.get("about:blank")
        self.driver.get(url)

    def size(self, width: int, height: int, *, scheme: str = "light") -> None:
        """The page's size in CSS pixels, and the colour scheme that it is told."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)

    def all(self, selector: str, text: str = "") -> list[WebElement]:
        """The elements of a CSS selector that contain a text, as many as there are now."""
        return [each for each in self.driver.find_elements(By.CSS_SELECTOR, selector) if text in each.text]

    def wait(self, selector: str, text: str = "") -> WebElement:
        """The first such element, once it is there and seen."""
        return self.until(
            lambda: next((each for each in self.all(selector, text) if each.is_displayed()), None),
            f"{selector} with {text!r}",
        )

    def click(self, selector: str, text: str = "") -> None:
        """Click the first such element, once something can be clicked there."""

        def clicked() -> bool:
            self.wait(selector, text).click()
            return True

        self.until(clicked, f"a click on {selector} with {text!r}")

    def until(self, found: Callable[[], T | None], what: str) -> T:
        """What `found` gives, once it gives something: pages of MLflow draw themselves again and again."""
        deadline = time.monotonic() + SHOWN_WITHIN
        while time.monotonic() < deadline:
            try:
                result = found()
            except (StaleElementReferenceException, WebDriverException):
                result = None
            if result:
                return result
            time.sleep(0.05)
        raise AssertionError(f"{what}: not within {SHOWN_WITHIN} s on {self.driver.current_url}:\n{self.text()}")

    def text(self) -> str:
        """All text that is seen."""
        return self.driver.find_element(By.TAG_NAME, "body").text

    def script(self, source: str, *arguments: Any) -> Any:
        """What a script in the page returns."""
        return self.driver.execute_script(source, *arguments)

    def choose_registry_page(self, url: str, *, old: bool) -> None:
        """Which of MLflow's two registry pages its switch has chosen; `url`: the server's."""
        self.open(f"{url}/version")
        self.script("localStorage.setItem(arguments[0], arguments[1])", OLD_REGISTRY_PAGE, "true" if old else "false")

    def hosts_asked(self) -> set[str]:
        """The hosts of all requests since the last call, by the browser's own log."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        sent = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
        return {urlparse(url).netloc for url in sent if urlparse(url).scheme in ("http", "https", "ws", "wss")}

    def complaints(self) -> list[str]:
        """What the browser's console says since the last call: scripts that failed, what the policy forbade."""
        return [entry["message"] for entry in self.driver.get_log("browser")]


@contextmanager
def browsing() -> Iterator[Browser]:
    """A browser until the block ends, which asks no host but the pages'."""
    options = Options()
    options.binary_location = shutil.which("chromium") or ""
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    for argument in (
        "--headless=new",
        # it runs as root in containers, with little shared memory
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--hide-scrollbars",
        "--lang=en-US",
    ):
        options.add_argument(argument)
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        yield Browser(driver)
    finally:
        driver.quit()
