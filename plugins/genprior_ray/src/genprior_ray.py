"""Trains rows on a Ray cluster: `genprior train RECIPE --on ray`, or `--on 'ray={address="10.0.0.1:6379", gpus=0.5}'`.

Each row under one seed is one task of Ray, which Ray starts as soon as a machine has the cores and the share of a GPU.
The machines need genprior, the recipe's plugins and this package, and share a file system under the same paths.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import Field

from genprior import GenpriorWarning, LaunchedTask, Launcher, LaunchError, LauncherSettings, run_task

__all__ = ["RayLauncher"]

PROBE = "import ray, sys; ray.init(address=sys.argv[1], logging_level='ERROR'); ray.shutdown()"
"""Connects in a process of its own: where a cluster does not answer, Ray may wait for minutes or end its process."""
PASSED_ON = ("GENPRIOR_", "OMP_NUM_THREADS", "PYTHONPATH")
"""How the names of environment variables begin that tasks have as this process does."""


class RayTask(LaunchedTask):
    """A task of Ray."""

    def __init__(self, reference: Any) -> None:
        """Follow the task of an object reference."""
        self._reference = reference

    def ended(self) -> str | None:
        """Whether Ray has the task's result, and what it is."""
        import ray

        done, _ = ray.wait([self._reference], timeout=0)
        if not done:
            return None
        try:
            ray.get(self._reference)
        except ray.exceptions.RayError as error:
            return f"was lost ({type(error).__name__}: {_first_line(error)})"
        return "returned"

    def cancel(self) -> None:
        """Let Ray end the task and its process."""
        import ray

        ray.cancel(self._reference, force=True)


class RayLauncher(Launcher):
    """Rows as tasks of a Ray cluster."""

    name = "ray"

    class Settings(LauncherSettings):
        """Where the cluster is, and what each row needs of it."""

        address: str | None = None
        """`auto` for the cluster that this machine belongs to, `HOST:PORT`, or `ray://HOST:PORT`; by default the
        environment variable RAY_ADDRESS, or else the cluster of this machine, or else a new one of it alone."""
        cpus: float = Field(1, gt=0)
        """Cores of each row."""
        gpus: float | None = Field(None, ge=0)
        """GPUs of each row, also a fraction: with 0.5, two rows share one. By default 1 if the cluster has GPUs and the
        device is not `cpu`, else 0."""
        resources: dict[str, float] = {}
        """Further resources that the cluster defines, such as `{ a100 = 1 }`."""
        retries: int = Field(3, ge=0)
        """How often a row whose machine was lost is begun again, which resumes it from its newest checkpoint."""
        seconds: float = Field(30.0, gt=0)
        """How long the cluster may take to answer."""

    settings: Settings

    @property
    def threads(self) -> int:
        """One for each core."""
        return max(1, int(self.settings.cpus))

    def open(self, device: str) -> None:
        """Connect to the cluster.

        Raises:
            LaunchError: Ray is not installed, or the cluster does not answer or has no GPU where one is requested.
        """
        if importlib.util.find_spec("ray") is None:
            raise LaunchError("launcher 'ray' needs the package ray, which is not installed: pip install ray")
        import ray

        self._connected = not ray.is_initialized()
        if self._connected:
            self._connect()
        try:
            self._gpus = self._share(device)
            self._check_machines()
        except BaseException:
            self.close()
            raise

    def _connect(self) -> None:
        import ray

        address = self.settings.address
        if address is not None:
            _check_address(address, self.settings.seconds)
        try:
            ray.init(
                address=address,
                logging_level="ERROR",
                log_to_driver=False,
                include_dashboard=False if address is None else None,
                runtime_env={"env_vars": _environment()},
            )
        except (ConnectionError, ValueError, RuntimeError, OSError, ray.exceptions.RayError) as error:
            raise _no_answer(address or "the cluster of RAY_ADDRESS or this machine", _first_line(error)) from error

    def _share(self, device: str) -> float:
        """The GPUs of a row.

        Raises:
            LaunchError: the device is `cuda` and a row is given no GPU.
        """
        import ray

        there = ray.cluster_resources().get("GPU", 0.0)
        if self.settings.gpus is not None:
            gpus = self.settings.gpus
        else:
            gpus = 1.0 if device == "cuda" or (there and device != "cpu") else 0.0
        if device == "cuda" and not gpus:
            raise LaunchError("--device cuda, but launcher 'ray' gives each row gpus = 0: give gpus=1, or a fraction")
        return gpus

    def _check_machines(self) -> None:
        """Warn where no machine has what a row needs, for which it would wait; one may join the cluster."""
        import ray

        needs = {"CPU": self.settings.cpus, "GPU": self._gpus, **self.settings.resources}
        machines = [machine["Resources"] for machine in ray.nodes() if machine["Alive"]]
        if any(all(machine.get(name, 0) >= n for name, n in needs.items()) for machine in machines):
            return
        needed = ", ".join(f"{n:g} {name}" for name, n in needs.items() if n)
        has = "; ".join(
            ", ".join(f"{machine.get(name, 0):g} {name}" for name, n in needs.items() if n) for machine in machines
        )
        text = f"launcher 'ray': no machine has {needed} for a row, so rows wait until one joins. There are: {has}"
        warnings.warn(GenpriorWarning(text), stacklevel=2)

    def start(self, folder: Path, name: str) -> RayTask:
        """Submit the task, for which Ray waits until a machine has what it needs."""
        import ray

        task = ray.remote(run_task).options(
            name=name,
            num_cpus=self.settings.cpus,
            num_gpus=self._gpus,
            resources=self.settings.resources or None,
            max_retries=self.settings.retries,
            runtime_env={"env_vars": _environment()},
        )
        return RayTask(task.remote(str(folder)))

    def close(self) -> None:
        """Disconnect, unless Ray was connected before."""
        import ray

        if self._connected:
            ray.shutdown()


def _check_address(address: str, seconds: float) -> None:
    """Check within a time limit that a cluster answers.

    Raises:
        LaunchError: it does not.
    """
    if ":" in address:
        parts = urlsplit(address if "://" in address else f"ray://{address}")
        try:
            host, port = parts.hostname, parts.port or 10001  # the port of Ray's client
        except ValueError:
            host, port = None, 0
        if host is None:
            raise LaunchError(
                f'launcher \'ray\': address = "{address}" is no address; give "auto", "HOST:PORT" or "ray://HOST:PORT"'
            )
        try:
            socket.create_connection((host, port), timeout=min(seconds, 5.0)).close()
        except OSError as error:
            raise _no_answer(address, _first_line(error)) from error
    try:
        done = subprocess.run(  # noqa: S603 - this Python, with the address as an argument
            [sys.executable, "-c", PROBE, address], timeout=seconds, capture_output=True, text=True, check=False
        )
    except subprocess.TimeoutExpired:
        raise _no_answer(address, f"no answer in {seconds:g} seconds") from None
    if done.returncode:
        raise _no_answer(address, (done.stderr.strip().splitlines() or ["it ended the connection"])[-1])


def _no_answer(address: str, why: str) -> LaunchError:
    return LaunchError(
        f"launcher 'ray': no Ray cluster answers at {address} ({why}). Start one with `ray start --head` and, on other "
        "machines, `ray start --address=HOST:PORT`; give its address, as in --on 'ray={address=\"HOST:PORT\"}', or "
        "leave the address out to use this machine alone"
    )


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith(PASSED_ON)}


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
