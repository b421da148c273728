"""The entry point: found under the scheme `ppo`, and nearly free for processes that never use it."""

import json
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

from mlflow_ppo_flavor.registry.plugin import build_store
from mlflow_ppo_flavor.registry.store import GuardedStore
from tests.registry import databases


def test_mlflow_finds_it_under_its_scheme(tmp_path: Path) -> None:
    found = entry_points(group="mlflow.model_registry_store", name="ppo")
    assert [entry.load() for entry in found] == [build_store]
    store = build_store(f"ppo:{databases.fresh(tmp_path)}")
    assert isinstance(store, GuardedStore)
    store.engine.dispose()


def test_loading_it_imports_neither_mlflow_nor_a_database() -> None:
    code = (
        "import sys, json, mlflow_ppo_flavor.registry.plugin\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"mlflow", "sqlalchemy", "flask", "yaml", "numpy", "torch"} & set(json.loads(done.stdout))


def test_the_store_needs_no_numerics_of_ours(tmp_path: Path) -> None:
    uri = databases.fresh(tmp_path)
    code = f"""
import sys
from mlflow_ppo_flavor.registry.plugin import build_store
build_store("ppo:{uri}")
loaded = {{name for name in sys.modules if name.partition(".")[0] in ("torch", "talib", "numba", "onnxruntime")}}
sys.exit(f"loaded {{sorted(loaded)[:5]}}" if loaded else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
