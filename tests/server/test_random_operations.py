"""Random operations over REST on a running server: the same steps, and the same oracle, as on the store itself."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from mlflow.exceptions import RestException
from mlflow.prompt.constants import IS_PROMPT_TAG_KEY
from mlflow.tracking import MlflowClient

from mlflow_ppo_flavor.contract.trader import Announcement
from mlflow_ppo_flavor.registry import resolution
from tests import tiers
from tests.mlflow_state import pointed_at
from tests.registry.drivers import Driver, Sources, follow, sources_of
from tests.registry.sequences import Ask, Copy, CreateModel, Register, Step, TagAsPrompt, steps
from tests.server.servers import Server

pytestmark = pytest.mark.server


class RestDriver(Driver):
    """By raw HTTP; what is loaded, by MLflow's client of the server."""

    def __init__(self, server: Server, sources: Sources) -> None:
        super().__init__(server.database, sources, MlflowClient(server.url, server.url))
        self._server = server

    def operate(self, step: resolution.Operation) -> None:
        name = self.name
        match step:
            case resolution.Transition(model, version, stage, archive):
                body = {"version": f"0{version}", "stage": stage.swapcase(), "archive_existing_versions": archive}
                self._call("POST", "model-versions/transition-stage", name=name(model), **body)
            case resolution.SetAlias(model, alias, version):
                self._call("POST", "registered-models/alias", name=name(model), alias=alias, version=f"0{version}")
            case resolution.DeleteAlias(model, alias):
                self._call("DELETE", "registered-models/alias", name=name(model), alias=alias)
            case resolution.DeleteVersion(model, version):
                self._call("DELETE", "model-versions/delete", name=name(model), version=str(version))
            case resolution.DeleteModel(model):
                self._call("DELETE", "registered-models/delete", name=name(model))
            case resolution.Rename(model, new_name):
                self._call("POST", "registered-models/rename", name=name(model), new_name=name(new_name))

    def build(self, step: Step) -> None:
        name = self.name
        match step:
            case Announcement():
                self._tag("registered-models", step.reference.model, "ppo.announce", self.announced(step))
            case Ask(model, request):
                # stages are the same in any case
                value = re.sub('"(Production|Staging)"', lambda found: found[0].swapcase(), request.value)
                self._tag("registered-models", model, request.tag, value)
            case CreateModel(model):
                self._call("POST", "registered-models/create", name=name(model))
            case Register(model, kind, way):
                self._register(model, self.source(kind, way))
            case Copy(model, version, to):
                self._register(to, f"models:/{name(model)}/{version}")
            case TagAsPrompt(model, version):
                self._tag("registered-models", model, IS_PROMPT_TAG_KEY, "true")
                self._tag("model-versions", model, IS_PROMPT_TAG_KEY, "true", version=str(version))

    def _register(self, model: str, source: str) -> None:
        run = source.split("/")[2 if source.startswith("mlflow-artifacts:") else 1]
        whose = {"model_id": run.removeprefix("models:/")} if source.startswith("models:/m-") else {}
        run_id = {} if source.startswith("models:") else {"run_id": run}
        self._call("POST", "model-versions/create", name=self.name(model), source=source, **whose, **run_id)

    def _tag(self, kind: str, model: str, key: str, value: str, **more: str) -> None:
        self._call("POST", f"{kind}/set-tag", name=self.name(model), key=key, value=value, **more)

    def _call(self, method: str, path: str, **body: Any) -> None:
        answer = self._server.call(method, path, body)
        if answer.status != 200:
            raise RestException(answer.body)


@pytest.fixture(scope="module")
def listed(server: Server, folders: dict[str, str]) -> Iterator[Sources]:
    """The sources of every kind: below a run, in the server's artifact store, and as a logged model."""
    with pointed_at(server.url):
        client = MlflowClient()
        run = client.create_run("0")

        def below_run(path: str) -> str:
            if Path(path).is_dir():
                client.log_artifacts(run.info.run_id, path, Path(path).name)
            return f"runs:/{run.info.run_id}/{Path(path).name}"

        def artifacts(path: str) -> str:
            return f"{run.info.artifact_uri}/{Path(path).name}"

        def logged(path: str) -> str:
            made = client.create_logged_model("0", f"logged-{Path(path).name.replace('.', '-')}")
            if Path(path).is_dir():
                client.log_model_artifacts(made.model_id, path)
            client.finalize_logged_model(made.model_id, "READY")
            return f"models:/{made.model_id}"

        yield dict(sources_of(folders, below_run, artifacts, logged))


@settings(max_examples=tiers.COSTLY_EXAMPLES)
@given(steps=steps)
def test_the_gate_holds_over_rest(server: Server, listed: Sources, steps: list[Step]) -> None:
    follow(RestDriver(server, listed), steps)
