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


def average(path, shares, size):
    """Average the gradients of `gradients.py` with buckets of this size; what arrived, and how many had left."""
    import gradients

    from genprior.engine.buckets import Buckets
    from genprior.engine.ranks import rank, world
    from genprior.engine.step import gradients_of

    modules = gradients.modules()
    phase = gradients.phase(modules)
    buckets = Buckets(shares[rank()] if shares else 1 / world(), size)
    objectives = phase.objectives(gradients.images(rank()))
    found = gradients_of(phase, objectives, modules, buckets)
    early = buckets.sent
    averages, losses = buckets.averages(found, [loss.detach().float() for loss in objectives.values()])
    parameters = {name: [p for p, _ in pairs] for name, pairs in averages.items()}
    assert all(g.stride() == p.stride() for pairs in averages.values() for p, g in pairs)
    assert all(any(p is own for own in modules[name].parameters()) for name in parameters for p in parameters[name])
    values = {name: [g.clone() for _, g in pairs] for name, pairs in averages.items()}
    torch.save([values, losses, early, buckets.sent], f"{path}/average-{world()}-{rank()}.pt")


def normalise(path):
    """Batch normalisation of this rank's slice: outputs, gradients as averaged over ranks, running averages."""
    from genprior.data.batches import slice_of
    from genprior.engine.batch_norm import synchronise
    from genprior.engine.ranks import rank, send_sum, world

    for number, case in enumerate(layers.CASES):
        layer, x, weights = layers.given(*case)
        mine = slice_of(len(x), rank(), world())
        share = (mine.stop - mine.start) / len(x)
        assert synchronise(torch.nn.Sequential(layer), share) == 1
        found = layers.numbers(layer, x[mine].clone().requires_grad_(), weights[mine])
        for name in ("input", "input bend"):  # of the loss of this rank, of which that of the batch is the average
            found[name] *= share
        for name in found:
            if name.startswith("parameter"):
                found[name] = send_sum(found[name] * share).wait()
        torch.save(found, f"{path}/norm-{number}-{rank()}.pt")


{"command": command, "group": group}.get(JOB, lambda given: None)(GIVEN)  # noqa: F821
