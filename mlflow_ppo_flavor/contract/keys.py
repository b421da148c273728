"""Keys: the private one that a registry seals its verdicts with, and the public ones that a trader knows the seals by.

Ed25519 (RFC 8032). Files are PEM: PKCS#8 without a password for the private key, SubjectPublicKeyInfo for public ones.
A private key is never shown: not by a repr, a message or a traceback of ours.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from mlflow_ppo_flavor.contract.seal import Seal, SealedVerdict
from mlflow_ppo_flavor.errors import SpecError

MOST_BYTES = 64 * 1024
_PEM = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)
_PUBLIC_KEY = "an Ed25519 public key (PEM, -----BEGIN PUBLIC KEY-----)"
_PRIVATE_KEY = "an Ed25519 private key (PEM PKCS#8 without a password, as `mlflow-ppo guard init` writes it)"
_KEEP_IT_HOME = "`mlflow-ppo guard public-key` prints the public one; a private key stays on the registry's machine"


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A public key, its 32 bytes: what a trader is given to know its registry's seals by."""

    raw: bytes

    @property
    def key_id(self) -> str:
        """The first 16 hexadecimal digits of sha256 over its 32 bytes."""
        return hashlib.sha256(self.raw).hexdigest()[:16]

    @property
    def pem(self) -> str:
        """The key as PEM."""
        key = Ed25519PublicKey.from_public_bytes(self.raw)
        return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")

    @classmethod
    def from_pem(cls, text: str, path: str = "verdict key") -> VerifyingKey:
        """The one key of a PEM text; SpecError, which shows nothing of the text, for anything else."""
        keys = VerifyingKeys.from_pem(text, path).keys
        if len(keys) != 1:
            raise SpecError(path, f"{len(keys)} keys", "one")
        return keys[0]

    def verifies(self, seal: Seal) -> bool:
        """Whether this key made the seal's signature, over exactly its verdict."""
        try:
            signature = base64.b64decode(seal.signature, validate=True)
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, seal.verdict.signed_bytes)
        except (InvalidSignature, ValueError):
            return False
        return True


@dataclass(frozen=True, slots=True)
class VerifyingKeys:
    """The public keys that a seal may be made with: several at once while a key is replaced."""

    keys: tuple[VerifyingKey, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.keys)

    @classmethod
    def from_pem(cls, text: str, path: str = "verdict key") -> VerifyingKeys:
        """Every key of a PEM text, of which there is one at least; SpecError, which shows nothing of the text, for
        anything else.
        """
        blocks = tuple(_PEM.finditer(text))
        for block in blocks:
            if block[1] != "PUBLIC KEY":
                raise SpecError(path, f"a PEM block {block[1]}", _PUBLIC_KEY, _KEEP_IT_HOME)
        if not blocks or text.count("-----BEGIN ") != len(blocks):
            raise SpecError(path, "an unfinished PEM block" if blocks else "no PEM block", _PUBLIC_KEY)
        return cls(tuple(dict.fromkeys(_public(block[0], path) for block in blocks)))

    @classmethod
    def read(cls, paths: Iterable[Path]) -> VerifyingKeys:
        """The keys of several PEM files, each once; SpecError names the file that can't be read."""
        found = (key for path in paths for key in cls.from_pem(_text(path), str(path)).keys)
        return cls(tuple(dict.fromkeys(found)))

    def find(self, key_id: str) -> VerifyingKey | None:
        """The key of this id, or None."""
        return next((key for key in self.keys if key.key_id == key_id), None)

    def fault(self, seal: Seal) -> str:
        """What is wrong with a seal's signature; empty where one of these keys made it, over exactly its verdict."""
        key = self.find(seal.key_id)
        if key is None:
            known = ", ".join(known.key_id for known in self.keys) or "none"
            return f"found key {seal.key_id}, expected one of {known}"
        return "" if key.verifies(seal) else f"found a signature that key {seal.key_id} didn't make over this verdict"


class SigningKey:
    """The private key that a registry seals its verdicts with."""

    __slots__ = ("_key", "public")

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = VerifyingKey(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))

    @classmethod
    def generate(cls) -> SigningKey:
        """A new key, from the operating system's randomness."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def read(cls, path: Path) -> SigningKey:
        """The key of a PEM file that its owner alone can read; SpecError, which shows nothing of it, for any other."""
        content, mode = _read(path)
        try:
            key = load_pem_private_key(content, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            key = None
        if not isinstance(key, Ed25519PrivateKey):
            raise SpecError(str(path), _no_private_key(content), _PRIVATE_KEY)
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            remedy = f"chmod 600 {path}, and make another key if somebody may have read this one"
            raise SpecError(str(path), f"mode {stat.S_IMODE(mode):04o}", "a key that its owner alone reads", remedy)
        return cls(key)

    def write(self, path: Path) -> None:
        """Write the key to a new file that its owner alone can read (0600); SpecError where there is one already."""
        pem = self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            remedy = "give another path: a key is never overwritten, seals made with it would be lost"
            raise SpecError(str(path), "a file", "none", remedy) from None
        except OSError as error:
            raise SpecError(str(path), error.strerror, "a place for a new file") from None
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(pem)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            path.unlink()
            raise SpecError(str(path), error.strerror, "room for a new file") from None

    def seal(self, verdict: SealedVerdict) -> Seal:
        """The verdict with this key's signature."""
        signature = base64.b64encode(self._key.sign(verdict.signed_bytes)).decode("ascii")
        return Seal(verdict, self.public.key_id, signature)

    def __repr__(self) -> str:
        return f"SigningKey(key_id={self.public.key_id!r})"


def _public(pem: str, path: str) -> VerifyingKey:
    try:
        key = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise SpecError(path, "another kind of public key" if key else "no key in the PEM block", _PUBLIC_KEY)
    return VerifyingKey(key.public_bytes(Encoding.Raw, PublicFormat.Raw))


def _text(path: Path) -> str:
    try:
        return _read(path)[0].decode("utf-8")
    except UnicodeDecodeError:
        raise SpecError(str(path), "no text", _PUBLIC_KEY) from None


def _no_private_key(content: bytes) -> str:
    """What a file is that isn't the private key which was expected; nothing of it is shown."""
    if b"-----BEGIN PUBLIC KEY-----" in content:
        return "a public key"
    return "something else"


def _read(path: Path) -> tuple[bytes, int]:
    """A small regular file's bytes and mode. What is looked at is what is read: the path could lead elsewhere a moment
    later.
    """
    try:
        # without O_NONBLOCK a pipe would be waited for
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            mode = os.fstat(descriptor).st_mode
            if not stat.S_ISREG(mode):
                raise SpecError(str(path), "no regular file", "a file with a key")
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise SpecError(str(path), error.strerror, "a file with a key") from None
    if len(content) > MOST_BYTES:
        raise SpecError(str(path), f"more than {MOST_BYTES} bytes", "a file with a key")
    return content, mode
