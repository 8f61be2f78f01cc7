"""Trains jobs in parallel, in processes of this machine."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.queues
import queue
import signal
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import torch

from genprior.errors import GenpriorError, Interrupted
from genprior.launch.reporter import Reporter, default_jobs, stop_on_interrupt
from genprior.recipe.plan import Plan
from genprior.registry import installed
from genprior.runs.jobs import Job
from genprior.runs.trainer import Trainer

__all__ = ["in_processes"]

# In a worker: the queue for its progress, and the event that stops it after the current step.
_messages: Any = None
_stop_flag: Any = None


def _start_worker(messages: Any, stop_flag: Any, threads: int) -> None:
    global _messages, _stop_flag
    _messages, _stop_flag = messages, stop_flag
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(threads)


def _work(index: int, plan: str, seed: int, folder: str, device: str) -> dict[str, float]:
    """Train one job in a worker; the plan is sent as TOML, so that parts of plugins need not be picklable."""
    resolved = Plan.model_validate(tomllib.loads(plan), context={"registry": installed()})
    trainer = Trainer(
        resolved,
        seed,
        Path(folder),
        device=device,
        stop=_stop_flag.is_set,
        progress=lambda step, rate: _messages.put((index, step, rate)),
    )
    return trainer.run()


def in_processes(jobs: Sequence[Job], workers: int, device: str, reporter: Reporter) -> list[Exception]:
    """Train jobs in worker processes, as many at a time as there are workers.

    Returns:
        The errors of the failed jobs; an `Interrupted` comes first if the user stopped them.
    """
    context = multiprocessing.get_context("spawn")
    messages, stop_flag = context.Queue(), context.Event()
    threads = max(1, default_jobs("cpu") // workers)
    failures: list[Exception] = []
    with (
        stop_on_interrupt() as stop,
        ProcessPoolExecutor(workers, context, _start_worker, (messages, stop_flag, threads)) as pool,
    ):
        # Workers start with SIGINT blocked: Ctrl-C during their imports would end them with a traceback.
        with _interrupts_blocked():
            running: dict[Future[dict[str, float]], Job] = {
                pool.submit(_work, index, job.plan.as_toml(), job.seed, str(job.folder), device): job
                for index, job in enumerate(jobs)
            }
        while running:
            if stop.is_set() and not stop_flag.is_set():
                stop_flag.set()
                reporter.stopping()
                for future in [future for future in running if future.cancel()]:
                    del running[future]
                failures.append(Interrupted("stopped"))
            _report_messages(messages, jobs, reporter)
            for future in [future for future in running if future.done()]:
                job = running.pop(future)
                try:
                    reporter.finished(job, future.result())
                except Interrupted as error:
                    failures.insert(0, error)
                except BrokenProcessPool:
                    lost = GenpriorError(f"row '{job.plan.label}': its process was killed; give the same command again")
                    lost.exit_code = 1
                    reporter.failed(job, lost)
                    failures.append(lost)
                except Exception as error:  # the failure of one row, even a bug of a plugin, does not stop the others
                    reporter.failed(job, error)
                    failures.append(error)
    return failures


@contextlib.contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Block SIGINT inside the `with` block; processes that are started inside it keep it blocked."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _report_messages(messages: Any, jobs: Sequence[Job], reporter: Reporter) -> None:
    """Wait up to 0.1 s for a message of the workers, and report all messages that have arrived."""
    with contextlib.suppress(queue.Empty):
        index, step, rate = messages.get(timeout=0.1)
        reporter.progress(jobs[index], step, rate)
        while True:
            index, step, rate = messages.get_nowait()
            reporter.progress(jobs[index], step, rate)
