"""Taking turns: calls that are measured beside each other, so that what else the machine does meets all of them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch


def by_turns(calls: Mapping[str, Callable[[], object]], *, rounds: int) -> dict[str, float]:
    """Least seconds of each call: every round makes each once, one after the other, after a warm-up.

    The least counts, since what else a machine does only adds.
    """
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        for _ in range(3):
            call()
    for _ in range(rounds):
        for name, call in calls.items():
            begin = time.perf_counter()
            call()
            taken[name].append(time.perf_counter() - begin)
    return {name: min(seconds) for name, seconds in taken.items()}


def by_turns_of_processes(calls: Mapping[str, Callable[[], object]], *, rounds: int) -> dict[str, float]:
    """Least seconds of each call, made once in a process of its own, which has no memory at hand from the last one.

    The processes are forked off this one after a warm-up: modules are imported, files are in the system's cache.
    """
    for call in calls.values():
        call()
    taken = [{name: _forked(call) for name, call in calls.items()} for _ in range(rounds)]
    return {name: min(row[name] for row in taken) for name in calls}


def _forked(call: Callable[[], object]) -> float:
    """Seconds of a call in a child, which tells them through a pipe."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        begin = time.perf_counter()
        call()
        os.write(writing, repr(time.perf_counter() - begin).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        told = pipe.read()
    os.waitpid(child, 0)
    return float(told)


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch computes on one thread inside: two of them wait for each other on a machine that does something else."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
