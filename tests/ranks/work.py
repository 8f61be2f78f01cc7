"""What a process of the tests does; `JOB`, `GIVEN`, `OUTPUT` and `ENVIRONMENT` are set by `conftest.py`."""

import os
import sys

sys.path.insert(0, os.path.dirname(__file__))
os.environ.update(ENVIRONMENT)  # noqa: F821
_output = os.open(OUTPUT, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)  # noqa: F821
os.dup2(_output, 1)
os.dup2(_output, 2)

import layers  # noqa: E402
import torch  # noqa: E402

torch.set_num_threads(1)


def command(arguments):
    """The command line."""
    from genprior.cli.app import main

    sys.argv = ["genprior", *arguments]
    main()


def group(given):
    """A function of this file below, inside of a group, with the rest of `given`."""
    from datetime import timedelta

    from genprior.engine.ranks import joined

    name, *rest = given
    with joined(torch.device("cpu"), timedelta(seconds=30)):
        globals()[name](*rest)


def average(path, shares):
    from genprior.engine.ranks import average_over_ranks, rank, world

    share = shares[rank()] if shares else None
    gradients = [torch.full((2, 3), float(rank())), torch.full((4,), 10.0 * rank(), dtype=torch.float64)]
    average_over_ranks(gradients, share)
    torch.save(gradients, f"{path}/average-{world()}-{rank()}.pt")


def normalise(path):
    """Batch normalisation of this rank's slice: outputs, gradients as averaged over ranks, running averages."""
    from genprior.data.batches import slice_of
    from genprior.engine.batch_norm import synchronise
    from genprior.engine.ranks import average_over_ranks, rank, world

    for number, case in enumerate(layers.CASES):
        layer, x, weights = layers.given(*case)
        mine = slice_of(len(x), rank(), world())
        share = (mine.stop - mine.start) / len(x)
        assert synchronise(torch.nn.Sequential(layer), share) == 1
        found = layers.numbers(layer, x[mine].clone().requires_grad_(), weights[mine])
        for name in ("input", "input bend"):  # of the loss of this rank, of which that of the batch is the average
            found[name] *= share
        average_over_ranks([found[name] for name in found if name.startswith("parameter")] or [torch.zeros(1)], share)
        torch.save(found, f"{path}/norm-{number}-{rank()}.pt")


{"command": command, "group": group}.get(JOB, lambda given: None)(GIVEN)  # noqa: F821
