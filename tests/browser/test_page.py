"""The gate's page in a real browser: the matrix, the filter, keys instead of a mouse, and names that are attacks."""

from typing import TYPE_CHECKING
from urllib.parse import urlparse

import pytest

from tests.browser.conftest import ATTACK
from tests.server.servers import Server

if TYPE_CHECKING:
    from tests.browser.browsers import Browser

pytestmark = [pytest.mark.browser, pytest.mark.server]
TAB, ENTER = "\ue004", "\ue007"
REFUSED = ("SUMMARY", "✗ refused 4 findings")
MOST_STOPS = 60
NEEDED = 4.5
# Every text that is seen: its contrast with the first ground behind it that isn't transparent (WCAG 2.2, 1.4.3).
CONTRASTS = """
const part = c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
const read = s => s.match(/[\\d.]+/g).map(Number);
const light = ([r, g, b]) => 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
const found = [];
const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walk.nextNode()) {
  const text = walk.currentNode.textContent.trim(), holder = walk.currentNode.parentElement;
  if (!text || !holder.checkVisibility()) continue;
  let ground = holder;
  while (ground && (read(getComputedStyle(ground).backgroundColor)[3] ?? 1) === 0) ground = ground.parentElement;
  const back = light(read(getComputedStyle(ground).backgroundColor));
  const front = light(read(getComputedStyle(holder).color));
  found.push([(Math.max(back, front) + 0.05) / (Math.min(back, front) + 0.05), text]);
}
return found;
"""
# The matrix as a person without eyes is told it: by its headers, each in the tree of roles.
MATRIX = """
const table = document.querySelector("section:has(h2 a[href*='name=desk']) .matrix");
const [groups, traders] = [...table.tHead.rows];
const columns = [];
let at = 0;
for (const group of [...groups.cells].slice(1)) {
  for (let i = 0; i < group.colSpan; i++)
    columns.push(group.innerText.trim() + " " + traders.cells[at++].innerText.trim());
}
return [...table.tBodies[0].rows].map(row => [
  row.cells[0].innerText.split("\\n")[0],
  Object.fromEntries([...row.cells].slice(1).map((cell, i) => [columns[i], cell.innerText.trim()])),
]);
"""


@pytest.fixture
def page(server: Server, browser: "Browser") -> "Browser":
    """The browser at the page."""
    browser.open(f"{server.url}/ppo/")
    browser.wait("#count", "3 guarded models")
    return browser


def model_names(browser: "Browser") -> list[str]:
    return [each.text for each in browser.all("h2 a")]


def test_the_matrix_says_who_may_run_what_and_why_not(page: "Browser") -> None:
    told = page.script(MATRIX)
    live_1, live_2, canary = "Production live-1 2.6.0", "Production live-2 2.7.0", "@canary canary-1 2.6.0"
    assert told == [
        ["version 3", {live_1: "✓ allowed", live_2: "✓ allowed", canary: "✓ allowed"}],
        ["version 2", {live_1: "✗ refused 4 findings", live_2: "✓ allowed", canary: "✗ refused 4 findings"}],
        ["version 1", {live_1: "▶ loads now\n✓ allowed", live_2: "▶ loads now\n✓ allowed", canary: "✓ allowed"}],
    ]
    page.click(".matrix summary", "refused")
    found = page.wait(".matrix details[open] .findings").text
    assert found.startswith("version Production, trader live-1 (2.6.0), ")
    assert "model 2.7.0 requires trader >=2.7.0" in found


def test_the_references_say_who_is_announced_and_the_last_verdict(page: "Browser") -> None:
    rows = [
        " ".join(each.text.split()) for each in page.all("section:has(h2 a[href*='name=desk']) .references tbody tr")
    ]
    production, canary = rows
    assert production.startswith("Production version 1 live-1 2.6.0, paper announced ")
    assert "live-2 2.7.0, paper announced " in production
    assert production.endswith("version findings block version 1 no. 1, just now not sealed")
    assert canary.startswith("@canary nothing canary-1 2.6.0, paper announced ")
    assert canary.endswith("none yet")


def test_the_history_stands_below_with_what_was_refused(server: Server, page: "Browser") -> None:
    page.open(f"{server.url}/ppo/?name=desk")
    rows = [each.text for each in page.all(".events tbody tr")]
    refused, allowed = rows[0], rows[1]
    assert "unauthenticated desk moving version 2 to Production" in refused
    assert "✗ refused 4 findings" in refused
    assert "Refused: desk version 2 can't become Production: trader live-1 (2.6.0) can't run it" in refused
    assert "moving version 1 to Production" in allowed
    assert "✓ allowed" in allowed
    assert [row.split("\n")[0].split(" desk ")[1] for row in rows[2:]] == [
        "announcing trader canary-1 (2.6.0) for @canary ✓ allowed",
        "announcing trader live-2 (2.7.0) for Production ✓ allowed",
        "announcing trader live-1 (2.6.0) for Production ✓ allowed",
    ]


def test_typing_filters_and_the_address_keeps_it(server: Server, page: "Browser") -> None:
    assert sorted(model_names(page)) == sorted(["desk", "shop", ATTACK])
    page.wait("#model").send_keys("DES")
    page.wait("#count", "1 of 3 contain “DES”")
    assert model_names(page) == ["desk"]
    assert urlparse(page.driver.current_url).query == "model=DES"
    page.driver.refresh()
    assert page.wait("#model").get_attribute("value") == "DES"
    assert model_names(page) == ["desk"]
    page.wait("#model").send_keys("x")
    page.wait("#count", "0 of 3 contain “DESx”")
    assert page.wait(".empty", "No guarded model's name contains “DESx”.")
    assert page.wait(".empty", "Nothing was asked of these models' protected references yet.")


def test_everything_is_reached_by_keys_and_seen_where_it_is(server: Server, page: "Browser") -> None:
    page.open(f"{server.url}/ppo/?model=desk")
    page.wait("#count", "1 of 3")
    seen: list[tuple[str, str]] = []
    while True:
        page.driver.switch_to.active_element.send_keys(TAB)
        tag, name, outline = page.script(
            """const e = document.activeElement;
            const name = e.id || e.getAttribute("aria-label") || e.innerText.trim();
            return [e.tagName, name, getComputedStyle(e).outlineStyle];"""
        )
        if tag == "BODY" or len(seen) > MOST_STOPS:
            break
        seen.append((tag, name))
        assert outline != "none", f"{tag} {name}: the focus isn't seen"
        if (tag, name) == REFUSED and not page.all("details[open]"):
            page.driver.switch_to.active_element.send_keys(ENTER)
            assert page.wait("details[open] .findings")
    assert seen[0] == ("A", "Skip to the content")
    regions = [("DIV", "References of desk"), ("DIV", "Versions of desk"), ("DIV", "History")]
    for wanted in [("INPUT", "model"), ("BUTTON", "Filter"), ("A", "desk"), REFUSED, *regions]:
        assert wanted in seen, f"no key leads to {wanted}: {seen}"
    # in the matrix for live-1 and canary-1, and in the history
    assert seen.count(REFUSED) == 3


def test_a_name_that_is_an_attack_is_shown_and_not_run(server: Server, page: "Browser") -> None:
    assert ATTACK in model_names(page)
    assert page.all("main img") == []
    page.click("h2 a", ATTACK)
    assert page.wait("#count", f"Only the model {ATTACK}")
    # into an attribute, into an address and into the filter
    for asked in (
        "?model=%22%3E%3Cscript%3Edocument.title='run'%3C/script%3E",
        "?name=%3Cimg%20src=x%20onerror=run%3E",
    ):
        page.open(f"{server.url}/ppo/{asked}")
        assert page.wait("#count")
        assert page.all("main script, main img") == []
        assert "run" not in page.driver.title.split(" · ")[1:]
    assert page.complaints() == []


def test_nothing_is_asked_of_other_hosts_and_the_policy_forbids_it(server: Server, page: "Browser") -> None:
    page.wait("#model").send_keys("desk")
    page.wait("#count", "contain")
    assert page.hosts_asked() == {urlparse(server.url).netloc}
    blocked = page.script(
        """return new Promise(done => {
            document.addEventListener("securitypolicyviolation", event => done(event.effectiveDirective));
            const image = new Image();
            image.src = "http://192.0.2.1/x.png";
        });"""
    )
    assert blocked == "img-src"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_every_text_stands_out_and_the_page_never_scrolls_sideways(page: "Browser", scheme: str, width: int) -> None:
    page.size(width, 1000, scheme=scheme)
    page.click(".matrix summary")
    told = page.script(CONTRASTS)
    assert len(told) > 50
    assert [text for ratio, text in told if ratio < NEEDED] == []
    assert page.script("return document.documentElement.scrollWidth") <= width


def test_without_scripts_the_form_does_the_same(server: Server, page: "Browser") -> None:
    page.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        page.open(f"{server.url}/ppo/")
        page.wait("#model").send_keys("desk")
        page.click("button", "Filter")
        assert page.wait("#count", "1 of 3 contain “desk”")
        assert "model=desk" in page.driver.current_url
    finally:
        page.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
