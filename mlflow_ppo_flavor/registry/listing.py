"""Listing: what lies in a version's folder that a trader refuses or that leads elsewhere, in whichever store."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

from mlflow_ppo_flavor.contract.compatibility import Finding
from mlflow_ppo_flavor.contract.unlisted import is_refused, leads_out

_LOOK = "look who put it there, then delete it"


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or folder below a version's folder, by its path there. `link`: it is one; `out`: to what isn't its own."""

    name: str
    is_folder: bool
    link: bool = False
    out: bool = False

    def finding(self, listed: Container[str]) -> Finding | None:
        """What is wrong with it; None where it may lie there."""
        # a file system may hold names that UTF-8 can't write, and a report can't tell
        where = self.name.encode("utf-8", "backslashreplace").decode("utf-8")
        if self.out:
            found, expected = "a link that leads out of the model", "its own files: a trader refuses it"
            return Finding("link", "safety", where, found, expected, _LOOK)
        if is_refused(self.name, listed):
            found, expected = "a file that MLmodel doesn't list", "no code there: a trader refuses it"
            return Finding("unlisted", "safety", where, found, expected, _LOOK)
        if self.link:
            found, expected = "a link", "a file: what a link leads to can change"
            return Finding("link", "warning", where, found, expected, "put a copy in its place")
        return None


def listing_findings(repository: ArtifactRepository, folder: str, listed: Container[str]) -> Iterator[Finding]:
    """What is wrong with what lies in a folder of a repository, beside the listed files' own bytes; the place is the
    path below it. Nothing below what is wrong is looked at: a trader refuses it all. The store's own errors where it
    can't be listed.
    """
    look = _look(repository, folder)
    waiting = [""]
    while waiting:
        for entry in sorted(look(waiting.pop()), key=lambda each: each.name):
            fault = entry.finding(listed)
            if fault is not None:
                yield fault
            elif entry.is_folder:
                waiting.append(entry.name)


def _look(repository: ArtifactRepository, folder: str) -> Callable[[str], Iterator[Entry]]:
    if isinstance(repository, LocalArtifactRepository):
        return partial(_scan, Path(repository.artifact_dir) / folder)
    return partial(_ask, repository, folder)


def _scan(root: Path, inside: str) -> Iterator[Entry]:
    with os.scandir(root / inside) as found:
        for each in found:
            link = each.is_symlink()
            out = link and leads_out(Path(each.path), root)
            yield Entry(posixpath.join(inside, each.name), each.is_dir(follow_symlinks=False), link, out)


def _ask(repository: ArtifactRepository, folder: str, inside: str) -> Iterator[Entry]:
    for each in repository.list_artifacts(posixpath.join(folder, inside).rstrip("/") or None):
        name = posixpath.relpath(each.path, folder or ".")
        if name != "." and not name.startswith(".."):
            yield Entry(name, bool(each.is_dir))
