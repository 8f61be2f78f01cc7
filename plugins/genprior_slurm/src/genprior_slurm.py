"""Trains rows as jobs of Slurm, by submitit: `genprior train RECIPE --on 'slurm={partition="gpu", gpus=1}'`.

Each row under one seed is one job. A job that is preempted or reaches its time limit writes a checkpoint, is queued
again and resumes. The machines share a file system, as those of Slurm do; the command runs where `sbatch` does, and
follows the jobs until they end.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from genprior import LaunchedTask, Launcher, LaunchError, LauncherSettings, run_task

__all__ = ["SlurmLauncher", "SlurmTask", "Work"]

BEFORE = 120
"""Seconds before the time limit in which a checkpoint is written."""


ANSWER = 20.0
"""Seconds in which Slurm has to name its partitions."""


class Work:
    """What a job calls; submitit pickles it, and calls `checkpoint` when the job is preempted or at its time limit."""

    def __init__(self) -> None:
        """Begin without a request to stop."""
        self._stop = threading.Event()
        self._over = threading.Event()

    def __call__(self, folder: str) -> None:
        """Train in a thread: the main thread receives the signals of Slurm while it waits."""
        failures: list[BaseException] = []

        def train() -> None:
            try:
                run_task(folder, stop=self._stop.is_set)
            except BaseException as error:
                failures.append(error)
            finally:
                self._over.set()

        threading.Thread(target=train, daemon=True).start()
        self._over.wait()
        for error in failures:
            raise error

    def checkpoint(self, folder: str) -> Any:
        """Stop with a checkpoint, and return the job that resumes from it."""
        from submitit.helpers import DelayedSubmission

        self._stop.set()
        self._over.wait(BEFORE)
        return DelayedSubmission(Work(), folder)

    def __getstate__(self) -> dict[str, Any]:
        """Events are of one process."""
        return {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Begin anew in the process of the job."""
        self.__init__()  # type: ignore[misc]


class SlurmTask(LaunchedTask):
    """A job of submitit."""

    def __init__(self, job: Any) -> None:
        """Follow a job that was submitted."""
        self._job = job

    def ended(self) -> str | None:
        """Whether the job is over, and the state that Slurm names."""
        if not self._job.done():
            return None
        return f"ended as {self._job.state} (job {self._job.job_id})"

    def cancel(self) -> None:
        """Cancel the job."""
        self._job.cancel(check=False)


class SlurmLauncher(Launcher):
    """Rows as jobs of Slurm."""

    name = "slurm"

    class Settings(LauncherSettings):
        """What each row requests of Slurm."""

        partition: str | None = None
        """The partition; Slurm's default if it is left out."""
        minutes: int = Field(1440, ge=1)
        """The time limit; a row that reaches it is queued again and resumes."""
        cpus: int = Field(1, ge=1)
        """Cores."""
        gpus: int = Field(0, ge=0)
        """GPUs of one machine."""
        memory: float | None = Field(None, gt=0)
        """GB of memory of the machine; Slurm's default if it is left out."""
        account: str | None = None
        """The account that is charged; Slurm's default if it is left out."""
        options: dict[str, str | int | bool] = {}
        """Further options of sbatch, such as `{ constraint = "a100", nice = 100 }`."""
        retries: int = Field(10, ge=0)
        """How often a row that reached its time limit is queued again."""
        cluster: Literal["slurm", "local"] = "slurm"
        """`local` runs the jobs on this machine without Slurm, to try a command."""

    settings: Settings

    @property
    def threads(self) -> int:
        """One for each core."""
        return self.settings.cpus

    def open(self, device: str) -> None:
        """Check that Slurm is here.

        Raises:
            LaunchError: submitit or Slurm is not installed, Slurm does not answer, or rows on GPUs request none.
        """
        if importlib.util.find_spec("submitit") is None:
            raise LaunchError(
                "launcher 'slurm' needs the package submitit, which is not installed: pip install submitit"
            )
        if device == "cuda" and not self.settings.gpus:
            raise LaunchError("--device cuda, but launcher 'slurm' requests gpus = 0 for each row: give gpus=1")
        if self.settings.cluster == "local":
            return
        for command in ("sbatch", "srun", "sinfo"):
            if shutil.which(command) is None:
                raise LaunchError(
                    f"launcher 'slurm': there is no command {command} on this machine. Give the command on a machine "
                    "of the cluster from which jobs are submitted, or try it without Slurm: --on "
                    "'slurm={cluster=\"local\"}'"
                )
        self._check_partition()

    def _check_partition(self) -> None:
        """Ask Slurm for its partitions.

        Raises:
            LaunchError: it does not answer in time, or has no such partition.
        """
        try:
            done = subprocess.run(  # noqa: S603
                ["sinfo", "--noheader", "--format=%R"],  # noqa: S607 - as the user's PATH has it
                timeout=ANSWER, capture_output=True, text=True, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            text = f"launcher 'slurm': Slurm did not answer in {ANSWER:g} seconds (sinfo); try again later"
            raise LaunchError(text) from None
        if done.returncode:
            raise LaunchError(f"launcher 'slurm': Slurm does not answer (sinfo: {' '.join(done.stderr.split())})")
        there = sorted(set(done.stdout.split()))
        asked = self.settings.partition
        # Several may be named, separated by commas.
        if asked is not None and not set(asked.split(",")) <= set(there):
            raise LaunchError(f"launcher 'slurm': there is no partition '{asked}'. Possible: {', '.join(there)}")

    def start(self, folder: Path, name: str) -> SlurmTask:
        """Submit a job.

        Raises:
            LaunchError: Slurm refuses it.
        """
        import submitit

        settings = self.settings
        executor = submitit.AutoExecutor(folder / "log", cluster=settings.cluster, **self._repeats())
        executor.update_parameters(
            name=f"genprior {name}",
            timeout_min=settings.minutes,
            cpus_per_task=settings.cpus,
            **({"gpus_per_node": settings.gpus} if settings.gpus else {}),
            **({} if settings.memory is None else {"mem_gb": settings.memory}),
            **self._of_slurm(),
        )
        try:
            return SlurmTask(executor.submit(Work(), str(folder)))
        except Exception as error:  # submitit raises several classes, and RuntimeError where srun is missing
            why = " ".join(str(error).split())
            raise LaunchError(f"launcher 'slurm': the job of '{name}' was refused: {why}") from error

    def _repeats(self) -> dict[str, int]:
        return {f"{self.settings.cluster}_max_num_timeout": self.settings.retries}

    def _of_slurm(self) -> dict[str, Any]:
        """Parameters that only Slurm has, as submitit names them."""
        settings = self.settings
        if settings.cluster != "slurm":
            return {}
        given = {"partition": settings.partition, "account": settings.account}
        parameters: dict[str, Any] = {f"slurm_{key}": value for key, value in given.items() if value is not None}
        parameters["slurm_signal_delay_s"] = BEFORE
        return {**parameters, "slurm_additional_parameters": settings.options}
