"""`/ppo/` over raw HTTP: users, a static prefix, several workers, and gunicorn."""

import base64
import json
import secrets
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.conftest import browser as browser
from tests.browser.conftest import chromium as chromium
from tests.server.servers import ADMIN_PASSWORD, Server, serving

if TYPE_CHECKING:
    from tests.browser.browsers import Browser

pytestmark = pytest.mark.server
PASSWORD = secrets.token_urlsafe(24)
ADMIN = ("admin", ADMIN_PASSWORD)
# with threads: a browser keeps connections open that it doesn't use, and each would hold a worker
GUNICORN = ("--gunicorn-opts", "--log-level warning --threads 8 --graceful-timeout 2")


@dataclass(frozen=True)
class Page:
    """An answer of the page's."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


def basic(user: tuple[str, str] | None) -> dict[str, str]:
    if user is None:
        return {}
    return {"Authorization": f"Basic {base64.b64encode(':'.join(user).encode()).decode()}"}


def ask(server: Server, path: str = "", user: tuple[str, str] | None = None) -> Page:
    """GET `/ppo/<path>`."""
    request = urllib.request.Request(f"{server.url}/ppo/{path}", headers=basic(user))
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return Page(answer.status, dict(answer.headers), answer.read().decode())
    except urllib.error.HTTPError as error:
        return Page(error.code, dict(error.headers), error.read().decode())


def names(page: Page) -> list[str]:
    return [model["name"] for model in page.json["models"]]


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory, folders: dict[str, str]) -> Iterator[Server]:
    """Gunicorn with two workers, a static prefix, and users who read nothing by default. `ann` may read `hers`."""
    pytest.importorskip("flask_wtf", reason="MLflow's basic-auth: install mlflow-ppo-flavor[dev]")
    folder = tmp_path_factory.mktemp("users")
    config = folder / "auth.ini"
    config.write_text(
        f"[mlflow]\ndefault_permission = NO_PERMISSIONS\ndatabase_uri = sqlite:///{folder}/users.db\n"
        "admin_username = admin\n"
    )
    policy = folder / "policy.yaml"
    policy.write_text("references: {theirs/Production: {approvals: 1}, hers/Staging: {mode: block}}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.server.servers.environment", _with(MLFLOW_AUTH_CONFIG_PATH=str(config)))
        options = ("--app-name", "basic-auth", "--static-prefix", "/team", "--policy", str(policy))
        with serving(folder / "server", *options, *GUNICORN, workers=2) as started:
            admin = replace(started, url=f"{started.url}/team", user=ADMIN)
            admin.register("hers", folders["2.6.0"])
            admin.register("theirs", folders["2.6.0"])
            for name in ("hers", "theirs"):
                assert admin.announce(name, version="2.6.0").status == 200
            body = {"username": "ann", "password": PASSWORD}
            assert admin.call("POST", "users/create", body).status == 200
            grant(admin, {"username": "ann", "resource_id": "hers"})
            yield admin


def grant(admin: Server, told: dict[str, str]) -> None:
    """Let a user read a model."""
    headers = {"Content-Type": "application/json", **basic(ADMIN)}
    body = json.dumps({**told, "resource_type": "registered_model", "permission": "READ"}).encode()
    url = f"{admin.url}/api/3.0/mlflow/users/permissions/grant"
    with urllib.request.urlopen(urllib.request.Request(url, body, headers, method="POST"), timeout=60) as answer:
        assert answer.status == 200


def _with(**more: str) -> Any:
    from tests.server.servers import environment

    found = environment() | more
    return lambda: found


def test_a_user_sees_the_models_that_they_may_read(users: Server) -> None:
    ann, admin = ("ann", PASSWORD), ADMIN
    for path in ("", "standing.json", "history.json", "guard.json", "static/page.css"):
        assert ask(users, path).status == 401
        assert ask(users, path, ann).status == 200
    assert ask(users, "", ("ann", "wrong")).status == 401
    assert names(ask(users, "standing.json", admin)) == ["hers", "theirs"]
    assert names(ask(users, "standing.json", ann)) == ["hers"]
    assert names(ask(users, "standing.json?name=theirs", ann)) == []
    assert {event["model"] for event in ask(users, "history.json", ann).json["events"]} == {"hers"}
    assert list(ask(users, "guard.json", ann).json["policy"]["references"]) == ["hers/Staging"]
    told = ask(users, "", ann).text
    assert "theirs" not in told
    assert 'href="/team/ppo/static/page.css"' in told
    assert 'href="/team/#/models/hers"' in told
    assert {event["who"] for event in ask(users, "history.json", admin).json["events"]} == {"admin"}


@pytest.mark.browser
def test_a_browser_logs_in_and_filters_there(users: Server, browser: "Browser") -> None:
    browser.open(f"{users.url}/ppo/")
    assert "guarded model" not in browser.text()
    browser.open(f"{users.url.replace('http://', f'http://ann:{PASSWORD}@')}/ppo/")
    browser.wait("#count", "1 guarded model")
    browser.wait("#model").send_keys("her")
    assert browser.wait("#count", "1 of 1 contain “her”")
    assert [each.text for each in browser.all("h2 a")] == ["hers"]
    assert browser.driver.current_url.endswith("/team/ppo/?model=her")
