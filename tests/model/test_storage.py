"""A model's folder: every file is what MLmodel lists, nothing runs, and what isn't right is told by its file."""

import json
import pickle
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import given, settings

from mlflow_ppo_flavor.contract.digest import canonical_json, model_digest, sha256_hex
from mlflow_ppo_flavor.errors import IntegrityError, SpecError, UnknownFormat
from mlflow_ppo_flavor.model.inference import infer
from mlflow_ppo_flavor.model.policy import ActorCritic
from mlflow_ppo_flavor.model.storage import read_model, write_model
from tests import tiers
from tests.model.policies import SPEC, any_policies, observations, policy_of, shaped_policy, small_golden, small_policy

PYFUNC = {"loader_module": "mlflow_ppo_flavor.flavor", "python_version": "3.11.7", "env": {"conda": "conda.yaml"}}


def write_folder(root: Path, policy: ActorCritic, **options: Any) -> Path:
    """A folder as save_model writes it, with the least of an MLmodel."""
    root.mkdir(exist_ok=True)
    entry = write_model(root, policy, policy.spec, options.get("golden"))
    (root / "MLmodel").write_text(yaml.safe_dump({"flavors": {"ppo": entry, "python_function": PYFUNC}}))
    return root


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("original") / "model", small_policy(), golden=small_golden())


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    """A copy to tamper with."""
    return Path(shutil.copytree(original, tmp_path / "model"))


def change_mlmodel(root: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = yaml.safe_load((root / "MLmodel").read_text())
    change(content["flavors"])
    (root / "MLmodel").write_text(yaml.safe_dump(content))


def test_it_has_four_files_and_their_digests(original: Path) -> None:
    assert sorted(path.name for path in original.iterdir()) == [
        *("MLmodel", "golden.safetensors", "policy.safetensors", "spec.json")
    ]
    entry = yaml.safe_load((original / "MLmodel").read_text())["flavors"]["ppo"]
    assert sorted(entry) == ["architecture", "files", "format", "spec"]
    assert entry["files"] == {
        name: sha256_hex((original / name).read_bytes())
        for name in ("golden.safetensors", "policy.safetensors", "spec.json")
    }
    assert (original / "spec.json").read_bytes() == canonical_json(SPEC.to_dict())


def test_it_reads_back_what_was_written(original: Path) -> None:
    model = read_model(original)
    assert model.spec == model.policy.spec == SPEC
    for name, tensor in small_policy().state_dict().items():
        assert torch.equal(model.policy.state_dict()[name], tensor)
    assert model.golden is not None
    assert model.golden.digests == small_golden().digests
    assert model.digest == model_digest(yaml.safe_load((original / "MLmodel").read_text())["flavors"])


@pytest.mark.parametrize(
    "options",
    [
        {"hidden_dims": (), "actor_dims": (3,), "critic_dims": (5, 4), "activation": "silu"},
        {"hidden_dims": (3,), "normalisation": {"clip": 1.5}, "activation": "gelu"},
    ],
    ids=["separate", "normalised"],
)
def test_other_shapes_of_network_survive_a_round_trip(tmp_path: Path, options: dict[str, Any]) -> None:
    policy = shaped_policy(**options)
    found = read_model(write_folder(tmp_path / "model", policy)).policy
    assert found.architecture == policy.architecture
    assert found.architecture.items() >= {key: list(v) if type(v) is tuple else v for key, v in options.items()}.items()
    for n in (1, 4):
        seen = observations(SPEC, n, seed=n).numpy() * 3
        for one, other in zip(infer(found, seen), infer(policy, seen), strict=True):
            assert one.tobytes() == other.tobytes()


@settings(max_examples=tiers.SLOW_EXAMPLES)
@given(any_policies)
def test_any_policy_survives_a_round_trip(tmp_path_factory: pytest.TempPathFactory, policy: ActorCritic) -> None:
    model = read_model(write_folder(tmp_path_factory.getbasetemp() / "any", policy))
    assert (model.spec, model.policy.architecture, model.golden) == (policy.spec, policy.architecture, None)
    seen = observations(policy.spec, 4)
    for one, other in zip(model.policy(seen), policy(seen), strict=True):
        assert torch.equal(one, other)


def test_weights_that_are_not_finite_are_not_written(tmp_path: Path) -> None:
    policy = policy_of(SPEC)
    with torch.no_grad():
        policy.actor.weight[0, 0] = float("nan")
    with pytest.raises(
        SpecError, match=r"^policy_state_dict.actor.weight: found NaN or infinity, expected finite weights"
    ):
        write_folder(tmp_path / "model", policy)


@pytest.mark.parametrize("name", ["policy.safetensors", "golden.safetensors", "spec.json"])
def test_one_changed_byte_is_told_by_its_file(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    found, listed = sha256_hex(bytes(content)), yaml.safe_load((folder / "MLmodel").read_text())
    expected = listed["flavors"]["ppo"]["files"][name]
    message = f"{folder / name}: found sha256 {found}, expected {expected} as MLmodel lists: don't use this copy: fetch"
    with pytest.raises(IntegrityError, match=f"^{re.escape(message)}"):
        read_model(folder)


@pytest.mark.parametrize("name", ["policy.safetensors", "golden.safetensors", "spec.json"])
def test_a_missing_file_is_told(folder: Path, name: str) -> None:
    (folder / name).unlink()
    message = f"{folder / name}: No such file or directory, expected the file that MLmodel lists"
    with pytest.raises(IntegrityError, match=f"^{re.escape(message)}"):
        read_model(folder)


def test_a_spec_json_that_says_something_else_is_refused(folder: Path) -> None:
    other = canonical_json({**SPEC.to_dict(), "notes": "mine"})
    (folder / "spec.json").write_bytes(other)
    change_mlmodel(folder, lambda flavors: flavors["ppo"]["files"].update({"spec.json": sha256_hex(other)}))
    with pytest.raises(IntegrityError, match=r"spec.json: found another spec, expected that of MLmodel"):
        read_model(folder)


def test_files_mlflow_adds_are_not_looked_at(folder: Path) -> None:
    (folder / "metadata").mkdir()
    for name in ("registered_model_meta", "requirements.txt", "input_example.json", "metadata/MLmodel", "README.md"):
        (folder / name).write_text("anything")
    assert read_model(folder).spec == SPEC


@pytest.mark.parametrize(
    "name", ["code/x.txt", "code/mlflow_ppo_flavor/flavor.py", "loader.py", "a/b.so", "m.PKL", "w.onnx"]
)
def test_code_and_loader_files_that_are_not_listed_are_refused(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(b"")
    shown = "code" if name.startswith("code") else name
    message = f"{folder / shown}: found a file that MLmodel doesn't list, expected no code there"
    with pytest.raises(IntegrityError, match=f"^{re.escape(message)}"):
        read_model(folder)


def set_entry(**values: Any) -> Callable[[dict[str, Any]], object]:
    return lambda flavors: flavors["ppo"].update(values)


def set_pyfunc(**values: Any) -> Callable[[dict[str, Any]], object]:
    return lambda flavors: flavors["python_function"].update(values)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            set_pyfunc(code="code"),
            IntegrityError,
            "python_function: found the key code, expected mlflow_ppo_flavor.flavor",
        ),
        (set_pyfunc(data="elsewhere"), IntegrityError, "python_function: found the key data, expected"),
        (set_pyfunc(loader_module="evil"), IntegrityError, "python_function: found the loader evil, expected"),
        (lambda flavors: flavors.update(python_function=3), IntegrityError, "found the key python_function, expected"),
        (
            lambda flavors: flavors.update(python_function={}),
            IntegrityError,
            "found the loader nothing, expected mlflow",
        ),
        (set_pyfunc(code=1, data=2), IntegrityError, "python_function: found the key code, expected"),
        (
            lambda flavors: flavors["python_function"].update({1: 2, "x": 3}),
            IntegrityError,
            "found the key 1, expected",
        ),
        (
            lambda flavors: flavors.update(other={"day": date(2020, 1, 1)}),
            IntegrityError,
            "MLmodel: flavors: Object of type date is not JSON serializable: expected values that JSON can say",
        ),
        (lambda flavors: flavors.update({1: {}}), IntegrityError, "MLmodel: flavors: '<' not supported between"),
        (lambda flavors: flavors.update(other=float("nan")), IntegrityError, "MLmodel: flavors: Out of range float"),
        (lambda flavors: flavors.pop("ppo"), IntegrityError, "found flavors python_function, expected ppo: it wasn't"),
        (set_entry(format=2), UnknownFormat, "flavors.ppo.format: found 2, expected 1: upgrade mlflow-ppo-flavor"),
        (set_entry(format=None), UnknownFormat, "flavors.ppo.format: found None, expected 1"),
        (set_entry(later=1), SpecError, "flavors.ppo.later: found an unknown key"),
        (set_entry(vouched=1), SpecError, "flavors.ppo.vouched: found 1, expected a mapping"),
        (set_entry(vouched={"reason": "x", "by": "y"}), SpecError, "flavors.ppo.vouched.at: found nothing, expected"),
        (
            lambda f: f["ppo"]["architecture"].update({"class": "Mlp"}),
            SpecError,
            "architecture.class: found 'Mlp', exp",
        ),
        (
            set_entry(architecture={"class": "Onnx"}),
            IntegrityError,
            "flavors.ppo.files: policy.onnx isn't listed, expected it",
        ),
        (
            set_entry(architecture={"class": "Onnx", "opset": 20}),
            SpecError,
            "flavors.ppo.architecture.opset: found an unknown key, expected one of class",
        ),
        (
            lambda f: f["ppo"]["files"].pop("policy.safetensors"),
            IntegrityError,
            "policy.safetensors: found a file that MLmodel doesn't list",
        ),
        (set_entry(files=None), SpecError, "flavors.ppo.files: found None, expected a mapping"),
        (set_entry(files={"../spec.json": "0"}), SpecError, "flavors.ppo.files: found {'../spec.json': '0'}, expected"),
        (set_entry(files={"/etc/hostname": "0"}), SpecError, "flavors.ppo.files: found {'/etc/hostname': '0'}"),
        (set_entry(files={"..": "0"}), SpecError, "flavors.ppo.files: found {'..': '0'}"),
        (set_entry(files={"": "0"}), SpecError, "flavors.ppo.files: found {'': '0'}"),
        (set_entry(files={"MLmodel": "0"}), SpecError, "flavors.ppo.files: found {'MLmodel': '0'}"),
        (set_entry(files={"spec.json": 3}), SpecError, "flavors.ppo.files: found {'spec.json': 3}"),
        (lambda f: f["ppo"]["spec"].update(window=0), SpecError, "flavors.ppo.spec.window: found 0"),
        (lambda f: f["ppo"]["spec"].update(window=5), IntegrityError, "spec.json: found another spec"),
        (lambda f: f["ppo"]["architecture"].update(activation="x"), SpecError, "architecture.activation: found 'x'"),
        (
            lambda f: f["ppo"]["architecture"].update(hidden_dims=[16]),
            SpecError,
            "policy_state_dict.actor.weight: found shape [4, 8], expected [4, 16]: they aren't of spec 1.0.0",
        ),
        (
            lambda f: f["ppo"]["files"].pop("spec.json"),
            IntegrityError,
            "flavors.ppo.files: spec.json isn't listed, expected it",
        ),
        (
            lambda f: f["ppo"]["files"].pop("golden.safetensors"),
            IntegrityError,
            "golden.safetensors: found a file that MLmodel doesn't list",
        ),
    ],
)
def test_an_mlmodel_that_says_something_else_is_refused(
    folder: Path, change: Callable[[dict[str, Any]], object], error: type[Exception], message: str
) -> None:
    change_mlmodel(folder, change)
    with pytest.raises(error, match=re.escape(message)):
        read_model(folder)


@pytest.mark.parametrize(
    "content", [b"", b"- 1", b"flavors: 3", b"\xff\xfe", b"a: [", b"a: !!python/object/apply:os.getcwd []"]
)
def test_an_mlmodel_that_cannot_be_read_is_told(folder: Path, content: bytes) -> None:
    (folder / "MLmodel").write_bytes(content)
    with pytest.raises(IntegrityError, match=f"^{re.escape(str(folder / 'MLmodel'))}: "):
        read_model(folder)


_TENFOLD = b"".join(b"    a%d: &a%d [%s]\n" % (i, i, b",".join([b"*a%d" % (i - 1)] * 10)) for i in range(1, 10))
HOSTILE = {
    "brackets": b"[" * 100_000,
    "closed brackets": b"flavors: " + b"[" * 100_000 + b"]" * 100_000,
    "mappings": b"{a: " * 100_000,
    "aliases": b"flavors:\n  ppo:\n    a0: &a0 [x]\n" + _TENFOLD,
    "itself": b"flavors: &f {ppo: *f, python_function: *f}",
    "large": b"#" * (5 * 1024 * 1024),
    "many": b"flavors: {ppo: [" + b"1," * 200_000 + b"]}",
}
READER = """
import resource, sys
from pathlib import Path
from mlflow_ppo_flavor.errors import IntegrityError
from mlflow_ppo_flavor.model.storage import read_flavors
used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
resource.setrlimit(resource.RLIMIT_CPU, (20, 20))
for folder in sys.argv[1:]:
    try:
        read_flavors(Path(folder))
    except IntegrityError as error:
        print(str(error)[:120].splitlines()[0])
assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - used < 200e6
"""


def test_an_mlmodel_that_unfolds_is_refused_in_bounded_time_and_memory(tmp_path: Path) -> None:
    # in another process: without the bounds it crashes or never ends
    for name, content in HOSTILE.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "MLmodel").write_bytes(content)
    folders = [str(tmp_path / name) for name in HOSTILE]
    done = subprocess.run([sys.executable, "-c", READER, *folders], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == len(HOSTILE)
    for folder, line in zip(folders, lines, strict=True):
        assert line.startswith(f"{folder}/MLmodel: found ")


def test_a_spec_json_that_nests_too_deep_is_refused(folder: Path) -> None:
    content = b"[" * 100_000
    (folder / "spec.json").write_bytes(content)
    change_mlmodel(folder, lambda flavors: flavors["ppo"]["files"].update({"spec.json": sha256_hex(content)}))
    with pytest.raises(IntegrityError, match=r"spec.json: maximum recursion depth exceeded"):
        read_model(folder)


def test_no_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match=r"No such file or directory: .*expected the MLmodel of a logged model"):
        read_model(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["policy.safetensors", "golden.safetensors"])
@pytest.mark.parametrize("content", [b"", b"garbage", (2**62).to_bytes(8, "little") + b"{}", pickle.dumps([1])])
def test_listed_bytes_that_are_no_tensors_are_told(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)
    change_mlmodel(folder, lambda flavors: flavors["ppo"]["files"].update({name: sha256_hex(content)}))
    with pytest.raises(IntegrityError, match=name):
        _ = read_model(folder).golden


def test_golden_decisions_of_another_spec_are_refused(tmp_path: Path) -> None:
    other = type(SPEC).from_dict({**SPEC.to_dict(), "window": 3})
    folder = write_folder(tmp_path / "model", policy_of(other), golden=small_golden())
    with pytest.raises(
        IntegrityError, match=r"golden.safetensors: found the spec [0-9a-f]{64}, expected that of the model"
    ):
        _ = read_model(folder).golden


def test_the_digest_covers_every_file_and_the_contract(folder: Path) -> None:
    before = read_model(folder).digest
    extra = json.dumps({"x": 1}).encode()
    (folder / "extra.json").write_bytes(extra)
    change_mlmodel(folder, lambda flavors: flavors["ppo"]["files"].update({"extra.json": sha256_hex(extra)}))
    assert read_model(folder).digest != before
