"""Real processes that share a training over gloo, started as torchrun starts them.

They are forked from a server that has imported genprior once, so that each costs little; `test_torchrun.py` starts
torchrun itself.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import socket
from pathlib import Path
from typing import NamedTuple

import pytest

IMPORTED = [
    "genprior.cli.app",
    "genprior.cli.progress",
    "genprior.cli.train",
    "genprior.launch.train",
    "genprior_std.parts",
    "sklearn.datasets",
    "torch._dynamo",
]
WORK = Path(__file__).parent / "work.py"


class Ended(NamedTuple):
    """How a process ended, and what it printed to stdout and stderr."""

    code: int
    text: str


def environment(rank, world, port):
    """The variables that torchrun sets."""
    numbers = {"RANK": rank, "WORLD_SIZE": world, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": world, "MASTER_PORT": port}
    return {name: str(value) for name, value in {**numbers, "MASTER_ADDR": "127.0.0.1"}.items()}


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.fixture(scope="session")
def _server():
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    return context


class Ranks:
    """Processes that run a job of `work.py` together."""

    def __init__(self, context, world, folder, job, given, **variables):
        port = free_port() if world > 1 else 0
        self.outputs = [folder / f"{job}-{world}-{rank}-{port}.txt" for rank in range(world)]
        self.processes = []
        for rank in range(world):
            # The server does not have what tests change, such as the folder of caches.
            own = {k: v for k, v in os.environ.items() if k.startswith("GENPRIOR")} | variables
            own |= environment(rank, world, port) if world > 1 else {}
            names = {"JOB": job, "GIVEN": given, "OUTPUT": str(self.outputs[rank]), "ENVIRONMENT": own}
            process = context.Process(target=runpy.run_path, args=(str(WORK), names, "work"))
            process.start()
            self.processes.append(process)

    def ended(self, within=60):
        """Wait for all processes."""
        for process in self.processes:
            process.join(within)
            if process.exitcode is None:
                for each in self.processes:
                    each.kill()
                pytest.fail(f"a process hangs:\n{self.text}")
        return [Ended(p.exitcode, o.read_text()) for p, o in zip(self.processes, self.outputs, strict=True)]

    @property
    def text(self):
        return "\n".join(f"[{n}] {each.read_text()}" for n, each in enumerate(self.outputs) if each.exists())


@pytest.fixture
def start(_server, tmp_path):
    """Start processes: `start(world, job, given, VARIABLE=...)`; those that still run at the end are killed."""
    started = []

    def begin(world, job, given, **variables):
        started.append(Ranks(_server, world, tmp_path, job, given, **variables))
        return started[-1]

    yield begin
    for each in started:
        for process in each.processes:
            if process.is_alive():
                process.kill()
            process.join()


@pytest.fixture
def genprior_ranks(start, tmp_path):
    """Run the command line in several processes and wait: `genprior_ranks(world, "train", ...)`."""

    def run(world, *arguments, **variables):
        return start(world, "command", [str(each) for each in arguments], **variables).ended()

    return run
