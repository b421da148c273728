"""Several files written as one: all of them or none."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from mlflow_ppo_flavor.errors import LockError


def rewrite(texts: Mapping[Path, str]) -> None:
    """Give each file its new text (UTF-8); LockError where one can't be written, and then all are as they were."""
    before = {path: path.read_bytes() if path.is_file() else None for path in texts}
    try:
        parts = _write_parts(texts)
    except OSError as error:
        raise LockError(f"{error.filename}: can't be written ({error.strerror}): nothing was changed") from error
    done = []
    try:
        for path, part in parts.items():
            part.replace(path)
            done.append(path)
    except OSError as error:
        for path in done:
            _put_back(path, before[path])
        raise LockError(f"{error.filename}: can't be written ({error.strerror}): nothing was changed") from error
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)


def _write_parts(texts: Mapping[Path, str]) -> dict[Path, Path]:
    """{file: its new text in a file beside it}, on disk; none of them where one can't be written."""
    parts: dict[Path, Path] = {}
    try:
        for path, text in texts.items():
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
            parts[path] = Path(name)
            with os.fdopen(handle, "wb") as file:
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())
            Path(name).chmod(path.stat().st_mode & 0o777 if path.exists() else 0o644)
    except OSError:
        for part in parts.values():
            part.unlink(missing_ok=True)
        raise
    return parts


def _put_back(path: Path, content: bytes | None) -> None:
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
