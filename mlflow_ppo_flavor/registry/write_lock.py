"""The lock between writes of artifacts and registrations, in a server that freezes artifacts: one for its machine."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from mlflow_ppo_flavor.registry.folders import destination, freezes

_logger = logging.getLogger(__name__)


def writing() -> AbstractContextManager[None]:
    """What is checked and then done in this block is done before a registration that the check didn't see is answered.

    Many may write at once.
    """
    return _locked(fcntl.LOCK_SH)


def settle_writes() -> None:
    """Wait for the writes that were allowed before a version was registered: then none of them is under way any more.

    Only in a server that freezes artifacts; elsewhere nobody is waited for. Not within a transaction of the registry:
    a writer that is waited for asks the registry.
    """
    if freezes():
        with _locked(fcntl.LOCK_EX):
            pass


@contextmanager
def _locked(kind: int) -> Iterator[None]:
    """A lock on the repository's own folder, between all processes of this machine."""
    folder = destination()
    if folder is None:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, kind)
        except OSError as error:
            _logger.warning(
                "%s can't be locked, so a write may pass in the instant of a registration: %s", folder, error
            )
        yield
    finally:
        os.close(descriptor)
