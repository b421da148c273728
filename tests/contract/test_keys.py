"""Key files: who may read them, what isn't one, and that nothing of a private key is ever shown."""

import base64
import os
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from mlflow_ppo_flavor.contract.keys import MOST_BYTES, SigningKey, VerifyingKey, VerifyingKeys
from mlflow_ppo_flavor.errors import SpecError
from tests.contract.test_seal import KEY, SEED, VERDICT

PUBLIC_PEM = KEY.public.pem
RSA = rsa.generate_private_key(65537, 2048)
EXPECTED_PRIVATE = (
    "expected an Ed25519 private key (PEM PKCS#8 without a password, as `mlflow-ppo guard init` writes it)"
)
EXPECTED_PUBLIC = "expected an Ed25519 public key (PEM, -----BEGIN PUBLIC KEY-----)"


def private_pem(key: object, *, password: bytes | None = None) -> bytes:
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def public_pem(key: object) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def written(path: Path, content: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


def refusal(act: Callable[[], object]) -> str:
    """Why it is refused; what a traceback shows, with all that led to it, holds nothing of the key."""
    with pytest.raises(SpecError) as caught:
        act()
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    for secret in (SEED, SEED.hex().encode(), base64.b64encode(SEED)):
        assert secret not in shown.encode()
    assert base64.b64encode(SEED).decode()[:20] not in shown
    return str(caught.value)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_a_key_is_written_for_its_owner_alone_and_read_back(tmp_path: Path, umask: int) -> None:
    path, before = tmp_path / "key.pem", os.umask(umask)
    try:
        KEY.write(path)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o177 == 0
    path.chmod(0o600)
    read = SigningKey.read(path)
    assert read.public == KEY.public
    assert read.seal(VERDICT) == KEY.seal(VERDICT)


def test_a_key_is_never_overwritten_also_not_through_a_link(tmp_path: Path) -> None:
    path = written(tmp_path / "key.pem", b"mine", 0o640)
    message = f"{path}: found a file, expected none: give another path: a key is never overwritten"
    assert refusal(lambda: KEY.write(path)).startswith(message)
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"mine", 0o640)
    link = tmp_path / "link.pem"
    link.symlink_to(tmp_path / "elsewhere.pem")
    assert "found a file, expected none" in refusal(lambda: KEY.write(link))
    assert not (tmp_path / "elsewhere.pem").exists()


def test_a_key_that_has_no_place_is_told(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "key.pem"
    assert (
        refusal(lambda: KEY.write(path)) == f"{path}: found No such file or directory, expected a place for a new file"
    )


def test_a_disk_that_is_full_leaves_no_half_key(tmp_path: Path) -> None:
    """Files of this process may not grow: the kernel says so as it would of a full disk."""
    import resource
    import signal

    path, limits = tmp_path / "key.pem", resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
    try:
        message = refusal(lambda: KEY.write(path))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert message == f"{path}: found File too large, expected room for a new file"
    assert not path.exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o601])
def test_a_key_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key.pem"
    KEY.write(path)
    path.chmod(mode)
    assert refusal(lambda: SigningKey.read(path)) == (
        f"{path}: found mode {mode:04o}, expected a key that its owner alone reads: "
        f"chmod 600 {path}, and make another key if somebody may have read this one"
    )


OTHERS = {
    "an RSA key": private_pem(RSA),
    "an EC key": private_pem(ec.generate_private_key(ec.SECP256R1())),
    "an X25519 key": private_pem(x25519.X25519PrivateKey.generate()),
    "a key with a password": private_pem(ed25519.Ed25519PrivateKey.from_private_bytes(SEED), password=b"x"),
    "a public key": PUBLIC_PEM.encode(),
    "half a key": private_pem(ed25519.Ed25519PrivateKey.from_private_bytes(SEED))[:60],
    "raw bytes": SEED,
    "nothing": b"",
    "no PEM": b"-----BEGIN PRIVATE KEY-----\n!!!!\n-----END PRIVATE KEY-----\n",
}


@pytest.mark.parametrize("kind", OTHERS)
def test_what_is_no_private_key_is_refused_and_not_shown(tmp_path: Path, kind: str) -> None:
    path = written(tmp_path / "key.pem", OTHERS[kind])
    found = "a public key" if kind == "a public key" else "something else"
    assert refusal(lambda: SigningKey.read(path)) == f"{path}: found {found}, {EXPECTED_PRIVATE}"
    # where there is no key to keep, who can read it isn't the fault
    path.chmod(0o644)
    assert refusal(lambda: SigningKey.read(path)) == f"{path}: found {found}, {EXPECTED_PRIVATE}"


def test_what_is_no_small_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    large = written(tmp_path / "large", b" " * (MOST_BYTES + 1))
    for path, found in (
        (tmp_path / "none", "No such file or directory"),
        (tmp_path, "Is a directory"),
        (pipe, "no regular file"),
        (large, f"more than {MOST_BYTES} bytes"),
    ):
        for act in (lambda path=path: SigningKey.read(path), lambda path=path: VerifyingKeys.read([path])):
            assert refusal(act) == f"{path}: found {found}, expected a file with a key"


def test_a_private_key_shows_its_id_alone() -> None:
    shown = f"{KEY!r} {KEY} {[KEY]} {vars(type(KEY)).keys()}"
    assert repr(KEY) == f"SigningKey(key_id='{KEY.public.key_id}')"
    assert SEED.hex() not in shown
    assert str(list(SEED)) not in shown


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", f"keys: found no PEM block, {EXPECTED_PUBLIC}"),
        ("ssh-ed25519 AAAA me", f"keys: found no PEM block, {EXPECTED_PUBLIC}"),
        (PUBLIC_PEM[:60], f"keys: found no PEM block, {EXPECTED_PUBLIC}"),
        (PUBLIC_PEM + PUBLIC_PEM[:60], f"keys: found an unfinished PEM block, {EXPECTED_PUBLIC}"),
        (public_pem(RSA), f"keys: found another kind of public key, {EXPECTED_PUBLIC}"),
        (
            "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
            f"keys: found no key in the PEM block, {EXPECTED_PUBLIC}",
        ),
        (
            PUBLIC_PEM + private_pem(ed25519.Ed25519PrivateKey.from_private_bytes(SEED)).decode(),
            f"keys: found a PEM block PRIVATE KEY, {EXPECTED_PUBLIC}: "
            "`mlflow-ppo guard public-key` prints the public one; a private key stays on the registry's machine",
        ),
    ],
)
def test_what_is_no_public_key_is_refused_and_not_shown(text: str, message: str) -> None:
    assert refusal(lambda: VerifyingKeys.from_pem(text, "keys")) == message


def test_public_keys_come_from_several_files_each_once(tmp_path: Path) -> None:
    keys = [SigningKey.generate().public for _ in range(3)]
    one = written(tmp_path / "one.pem", f"the new one\r\n{keys[0].pem}{keys[1].pem}".encode(), 0o644)
    two = written(tmp_path / "two.pem", (keys[1].pem + keys[2].pem).replace("\n", "\r\n").encode(), 0o644)
    read = VerifyingKeys.read([one, two])
    assert read.keys == tuple(keys)
    assert [read.find(key.key_id) for key in keys] == keys
    assert VerifyingKey.from_pem(keys[0].pem) == keys[0]
    assert refusal(lambda: VerifyingKey.from_pem(one.read_text(), "key")) == "key: found 2 keys, expected one"
    binary = written(tmp_path / "binary.pem", b"\xff\xfe")
    assert refusal(lambda: VerifyingKeys.read([one, binary])) == f"{binary}: found no text, {EXPECTED_PUBLIC}"
