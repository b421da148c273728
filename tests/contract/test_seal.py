"""Seals: the exact bytes that are signed, and that no other bytes pass for them."""

import base64
import json
import re
import subprocess
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from mlflow.utils.validation import _validate_model_name

from mlflow_ppo_flavor.contract.digest import canonical_json
from mlflow_ppo_flavor.contract.keys import SigningKey, VerifyingKey, VerifyingKeys
from mlflow_ppo_flavor.contract.reference import Reference
from mlflow_ppo_flavor.contract.seal import Seal, SealedVerdict
from mlflow_ppo_flavor.errors import SpecError, UnknownFormat
from tests.contract import contracts

# the first test vector of RFC 8032, section 7.1
SEED = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
PUBLIC = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
KEY = SigningKey(Ed25519PrivateKey.from_private_bytes(SEED))
KEYS = VerifyingKeys((KEY.public,))
VERDICT = SealedVerdict(
    registry="7a5c1f0e-3b7d-4a6f-9a43-0d6f1c2b3e4f",
    workspace="default",
    model="ppo-aapl",
    label="@champion",
    version=7,
    digest="0f" * 32,
    sequence=12,
    at="2026-01-31T14:30:00+00:00",
)
SIGNED = (
    b'{"at":"2026-01-31T14:30:00+00:00","digest":"0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f",'
    b'"format":1,"label":"@champion","model":"ppo-aapl","registry":"7a5c1f0e-3b7d-4a6f-9a43-0d6f1c2b3e4f",'
    b'"sequence":12,"version":7,"workspace":"default"}'
)
SIGNATURE = "bCPUc94sr+I/vUUlDY6BWcegdGgRqlgSoijVD6LwdNj3tjerZJrdfIBrOVuoiRBMLA3RydJWQ9if1JhSOBQsBQ=="
verdicts = st.builds(
    lambda reference, **values: SealedVerdict(model=reference.model, label=reference.label, **values),
    contracts.references,
    registry=st.uuids().map(str),
    workspace=st.from_regex(r"[a-z][a-z0-9-]{0,40}", fullmatch=True),
    version=st.integers(1, 2**63 - 1),
    digest=contracts.digests,
    sequence=st.integers(1, 2**63 - 1),
    at=contracts.times,
)


def fault_of(data: Any, keys: VerifyingKeys = KEYS) -> str:
    """Why the JSON value of a seal isn't believed; empty where it is."""
    try:
        return keys.fault(Seal.from_dict(data))
    except SpecError as error:
        return str(error)


def test_the_format_is_what_it_was() -> None:
    """Whoever writes another implementation finds here what it must give."""
    assert KEY.public == VerifyingKey(PUBLIC)
    assert KEY.public.key_id == "21fe31dfa154a261"
    assert VERDICT.signed_bytes == SIGNED
    assert KEY.seal(VERDICT).to_dict() == {
        "format": 1,
        "verdict": {name: value for name, value in json.loads(SIGNED).items() if name != "format"},
        "key_id": "21fe31dfa154a261",
        "signature": SIGNATURE,
    }


def test_openssl_verifies_it(tmp_path: Path) -> None:
    """An implementation that isn't ours says the same of the same files; of one changed byte it says no."""
    files = {"key": KEY.public.pem.encode(), "signed": SIGNED, "signature": base64.b64decode(SIGNATURE)}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "key", "-rawin", "-in", "signed"]
    run = subprocess.run([*command, "-sigfile", "signature"], cwd=tmp_path, capture_output=True, text=True)
    assert (run.returncode, run.stdout.strip()) == (0, "Signature Verified Successfully"), run.stderr
    (tmp_path / "signed").write_bytes(SIGNED.replace(b'"version":7', b'"version":8'))
    assert subprocess.run([*command, "-sigfile", "signature"], cwd=tmp_path, capture_output=True).returncode != 0


@given(verdicts)
def test_it_survives_a_round_trip_and_verifies_after_it(verdict: SealedVerdict) -> None:
    seal = KEY.seal(verdict)
    read = Seal.from_dict(json.loads(canonical_json(seal.to_dict())))
    assert read == seal
    assert read.verdict.reference == Reference.parse(verdict.model, verdict.label)
    assert KEYS.fault(read) == ""


@given(verdicts, verdicts, st.sampled_from([member.name for member in fields(SealedVerdict)]))
def test_no_field_of_a_verdict_can_be_another(verdict: SealedVerdict, other: SealedVerdict, name: str) -> None:
    """Whole values swapped in from a verdict that the same key could have signed."""
    changed = replace(verdict, **{name: getattr(other, name)})
    seal = replace(KEY.seal(verdict), verdict=changed)
    told = f"found a signature that key {KEY.public.key_id} didn't make over this verdict"
    assert KEYS.fault(seal) == ("" if changed == verdict else told)


@given(verdicts, st.data())
def test_no_byte_of_a_seal_can_be_another(verdict: SealedVerdict, data: st.DataObject) -> None:
    content = bytearray(canonical_json(KEY.seal(verdict).to_dict()))
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] = data.draw(st.integers(0, 255).filter(lambda byte: byte != content[place]))
    try:
        read = json.loads(bytes(content))
    except ValueError:
        return
    assert fault_of(read) != ""


@given(verdicts, st.randoms(use_true_random=False))
def test_the_order_of_keys_means_nothing(verdict: SealedVerdict, random: Any) -> None:
    told = KEY.seal(verdict).to_dict()
    for part in (told, told["verdict"]):
        items = list(part.items())
        random.shuffle(items)
        part.clear()
        part.update(items)
    assert fault_of(told) == ""


@given(verdicts)
def test_another_keys_signature_is_not_this_ones(verdict: SealedVerdict) -> None:
    stranger = SigningKey.generate()
    seal = stranger.seal(verdict)
    assert KEYS.fault(seal) == f"found key {stranger.public.key_id}, expected one of {KEY.public.key_id}"
    told = f"found a signature that key {KEY.public.key_id} didn't make over this verdict"
    assert KEYS.fault(replace(seal, key_id=KEY.public.key_id)) == told


def test_keys_are_replaced_one_after_the_other() -> None:
    """While both are known both kinds of seals are valid; without the old key its seals aren't."""
    new = SigningKey.generate()
    old_seal, new_seal = KEY.seal(VERDICT), new.seal(VERDICT)
    both = VerifyingKeys.from_pem(f"{KEY.public.pem}\n{new.public.pem}")
    assert [both.fault(seal) for seal in (old_seal, new_seal)] == ["", ""]
    only = VerifyingKeys((new.public,))
    assert only.fault(new_seal) == ""
    assert only.fault(old_seal) == f"found key {KEY.public.key_id}, expected one of {new.public.key_id}"
    assert VerifyingKeys().fault(new_seal) == f"found key {new.public.key_id}, expected one of none"
    assert not VerifyingKeys()
    assert both


def changed(**values: Any) -> Callable[[], dict[str, Any]]:
    return lambda: KEY.seal(VERDICT).to_dict() | values


def said(**values: Any) -> Callable[[], dict[str, Any]]:
    return changed(verdict=VERDICT.to_dict() | values)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (changed(format=2), "format: found 2, expected 1: upgrade mlflow-ppo-flavor to read this seal"),
        (changed(format=True), "format: found True, expected 1"),
        (changed(more=1), "more: found an unknown key, expected one of format, verdict, key_id, signature"),
        (changed(key_id="21FE31DFA154A261"), "key_id: found '21FE31DFA154A261', expected a key's id"),
        (changed(signature=7), "signature: found 7, expected a string"),
        (changed(signature=""), "signature: found '', expected 64 bytes in base64"),
        (changed(signature=SIGNATURE[:-2]), "signature: found "),
        (changed(signature=SIGNATURE + "\n"), "signature: found "),
        (changed(signature=base64.b64encode(b"x" * 63).decode()), "signature: found "),
        (said(registry="me"), "verdict.registry: found 'me', expected a registry's UUID"),
        (said(workspace=""), "verdict.workspace: found '', expected one line of text"),
        (said(workspace="x" * 64), "verdict.workspace: found 64 characters, expected at most 63"),
        (said(label="production"), "verdict.label: found 'production', expected Production"),
        (said(label="latest"), "verdict.label: found 'latest', expected Production, Staging or @alias"),
        (said(model="a/b"), "verdict.model: found 'a/b', expected a model name without / and :"),
        (said(model=" \n"), "verdict.model: found ' \\n', expected a model name without / and :"),
        (said(version=0), "verdict.version: found 0, expected a whole number in [1, "),
        (said(version=7.0), "verdict.version: found 7.0, expected a whole number"),
        (said(version=True), "verdict.version: found True, expected a whole number"),
        (said(sequence=0), "verdict.sequence: found 0, expected a whole number in [1, "),
        (said(digest="0F" * 32), "verdict.digest: found '0F0F"),
        (said(at="today"), "verdict.at: found 'today', expected a time with its zone"),
        (said(more=1), "verdict.more: found an unknown key"),
        (list, "value: found [], expected a mapping"),
    ],
)
def test_what_is_no_seal_is_told_by_its_path(build: Callable[[], Any], message: str) -> None:
    with pytest.raises(SpecError, match=f"^{re.escape(message)}"):
        Seal.from_dict(build())


@pytest.mark.parametrize("model", ["a@b", "what?", "a\nb", "@x", "\x00", "n" * 300])
def test_a_model_that_mlflow_registers_and_no_reference_can_name_has_a_seal_like_any_other(model: str) -> None:
    """The registry signs what it holds; a trader, whose reference names no such model, is given none of them."""
    _validate_model_name(model)
    seal = KEY.seal(replace(VERDICT, model=model))
    assert Seal.from_dict(json.loads(canonical_json(seal.to_dict()))) == seal
    assert KEYS.fault(seal) == ""


def test_the_unused_bits_of_base64_make_no_second_signature() -> None:
    """A decoder that takes them would let a changed text pass for the same signature."""
    last = SIGNATURE[-3]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    twin = f"{SIGNATURE[:-3]}{alphabet[alphabet.index(last) ^ 1]}=="
    assert twin != SIGNATURE
    assert base64.b64decode(twin) == base64.b64decode(SIGNATURE)
    with pytest.raises(SpecError, match=r"^signature: found '.*, expected 64 bytes in base64$"):
        Seal.from_dict(KEY.seal(VERDICT).to_dict() | {"signature": twin})


def test_a_seal_of_a_later_format_is_never_guessed() -> None:
    with pytest.raises(UnknownFormat, match=r"^seal.format: found 2, expected 1"):
        Seal.from_dict(KEY.seal(VERDICT).to_dict() | {"format": 2}, "seal")
