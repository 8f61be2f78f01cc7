"""A training that several processes share: the first one gives orders and writes, the others follow."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

import torch

from genprior.engine.device import choose_device
from genprior.engine.ranks import alone, hear_order, joined, of_first_rank, order, parted, said_by_ranks
from genprior.errors import GenpriorError, Interrupted, PlanError, RankLost, RecipeError, RunError
from genprior.runs.torchrun import Torchrun, ranks_time_limit, torchrun
from genprior.runs.trainer import Trainer

__all__ = ["Team", "team_of"]


class Team:
    """The processes that share a training, as one of them sees it; a process without others leads itself."""

    def __init__(self, place: Torchrun, device: str) -> None:
        """Be the process at `place`, with its own `device`."""
        self.place = place
        self.device = device

    @property
    def leads(self) -> bool:
        """Whether this is the first process, which reads and writes run folders, scores, and prints."""
        return self.place.rank == 0

    @contextlib.contextmanager
    def leading(self) -> Iterator[None]:
        """Inside the block this process gives the orders; how the block ends is the last order.

        A training in this block that the others share is begun by `share`; all else is done by this process alone.
        """
        if self.place.world == 1:
            yield
            return
        try:
            yield
        except RankLost as error:  # the others meet the same
            parted(str(error))
            raise
        except BaseException as error:
            code = error.exit_code if isinstance(error, GenpriorError) else 1
            order({"end": str(error) or type(error).__name__, "code": code})
            raise
        order({"end": "", "code": 0})

    def apart(self) -> contextlib.AbstractContextManager[None]:
        """Inside the block the first process computes without the others."""
        return alone()

    def share(self, number: int) -> Callable[[Trainer], None]:
        """What a trainer calls before its first step, so that the others train job `number` with it."""

        def begin(trainer: Trainer) -> None:
            order({"train": number})
            self._begin(trainer, None)

        return begin if self.place.world > 1 else lambda trainer: None

    def part(self, trainer: Trainer | None, error: Exception) -> bool:
        """Whether a training ended for this process alone, which then leaves the others, whom it cannot reach."""
        if not (isinstance(error, RankLost) or (trainer is not None and trainer.apart)):
            return False
        parted(str(error) or type(error).__name__)
        return True

    def follow(self, trainer_of: Callable[[int], Trainer], stop: threading.Event) -> None:
        """Obey the first process until its last order.

        Args:
            trainer_of: the trainer of a job, by its number.
            stop: set when this process is told to end.

        Raises:
            GenpriorError: the error with which the first process ended.
            RankLost: the first process is gone.
        """
        while "end" not in (told := hear_order(stop.is_set)):
            trainer = trainer_of(told["train"])
            failed: Exception | None = None
            try:
                trainer.prepare()
            except Exception as error:  # of a part too; the first process tells the user
                failed = error
            try:
                self._begin(trainer, failed)
                trainer.follow()
            except Exception as error:  # the first process has met the same one, or hears of this one
                if self.part(trainer, error):
                    if isinstance(error, RankLost):
                        raise
                    told = {"end": str(error), "code": 1}
                    break
        if told["code"]:
            ended: GenpriorError = Interrupted(told["end"]) if told["code"] == 130 else GenpriorError(told["end"])
            ended.exit_code = told["code"]
            raise ended

    def _begin(self, trainer: Trainer, failed: Exception | None) -> None:
        """Begin a training together: all have prepared it, and have the state of the first process.

        Raises:
            RunError: a process could not prepare it.
        """
        text = "" if failed is None else str(failed) or type(failed).__name__
        for number, said in enumerate(said_by_ranks(text)):
            if said:
                raise RunError(f"process {number} of {self.place.world} cannot train this row: {said}")
        trainer.take(of_first_rank(trainer.given() if self.leads else None))


@contextlib.contextmanager
def team_of(device: str, jobs: int) -> Iterator[Team]:
    """The processes that torchrun started, inside the block; without torchrun this process alone.

    Args:
        device: the requested device.
        jobs: the rows to train in parallel, of which the processes of torchrun can train only one.

    Raises:
        RecipeError: several rows are to be trained in parallel.
        PlanError: this machine has fewer GPUs than processes.
        RankLost: the other processes did not come.
    """
    place = torchrun()
    if place is None:
        yield Team(Torchrun(0, 1, 0, 1), device)
        return
    if jobs > 1:
        raise RecipeError(
            f"--jobs {jobs} trains {jobs} rows at once, but torchrun started {place.world} processes that train one "
            "row together. Leave --jobs out, or start without torchrun"
        )
    own = choose_device(device)
    if own == torch.device("cuda"):
        if place.local_world > torch.cuda.device_count():
            raise PlanError(
                f"torchrun started {place.local_world} processes on this machine, which has "
                f"{torch.cuda.device_count()} GPUs; give --nproc-per-node {torch.cuda.device_count()}, or --device cpu"
            )
        own = torch.device("cuda", place.local_rank)
    with joined(own, ranks_time_limit()):
        yield Team(place, str(own))
