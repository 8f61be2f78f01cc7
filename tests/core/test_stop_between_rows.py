"""Ctrl-C while a worker becomes free: no further row begins."""

from __future__ import annotations

import multiprocessing
import threading

import genprior
from genprior.errors import Interrupted
from genprior.launch import processes
from genprior.launch.reporter import Reporter
from genprior.launch.sent import sent
from genprior.runs.jobs import jobs_of


class Done:
    """A process that has ended."""

    exitcode = 0

    def join(self):
        """It has."""


def test_a_worker_that_ends_its_row_as_the_user_stops_gets_no_other(tiny, tmp_path, monkeypatch):
    jobs = jobs_of(genprior.load_recipe(tiny, seeds=[0, 1]), tmp_path)
    stop, begun, ends = threading.Event(), [], []
    team = processes._Team(2, "cpu", Reporter(), False)

    def start(job):
        begun.append(job)
        ours, theirs = multiprocessing.Pipe()
        ends.append(theirs)
        team._workers.append(processes._Worker(Done(), ours, job))

    def wait(pipes, timeout):
        """The user stops while the parent waits for the workers, and both have just ended their rows."""
        stop.set()
        for end in ends if pipes else ():
            end.send(("finished", {}))
        return list(pipes)

    monkeypatch.setattr(team, "_start", start)
    monkeypatch.setattr(processes.connection, "wait", wait)
    failures = team.train(jobs, stop)
    assert begun == jobs[:2]
    assert [end.recv() for end in ends] == [None, None], "the workers are let go, and given no row"
    assert [type(each) for each in failures] == [Interrupted]


def test_a_worker_that_is_told_to_stop_before_its_first_step_takes_none(tiny, tmp_path):
    """The order to train and the order to stop arrive together."""
    job = jobs_of(genprior.load_recipe(tiny, rows=["AAE"]), tmp_path)[0]
    ours, theirs = multiprocessing.Pipe()
    ours.send(None)
    answer, error, _ = processes._trained(sent(job), "cpu", theirs, threading.Event(), False)
    assert answer == "failed"
    assert isinstance(error, Interrupted)
    assert not job.folder.exists()
