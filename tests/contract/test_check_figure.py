"""The contract test of figures finds each promise that is broken on purpose, and the standard figures keep theirs."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure as Picture

from genprior import DataError, Drawing, Figure, PartConfig, PlanError, seeded
from genprior.testing import ContractError, check_figure
from genprior_std.figures.fig8_codes import SmallCodes
from genprior_std.figures.fig10_supervised import SupervisedGrid
from genprior_std.figures.fig11_codes import SupervisedCodes
from genprior_std.figures.fig14_text import ImagesOfSentences
from genprior_std.figures.fig15_colours import ColourSweep


class Means(Figure):
    """A correct figure: the mean pixel of samples of each run, and a random number."""

    name = "test_means"

    class Config(PartConfig):
        samples: int = 3

    def draw(self, runs: Any, seed: int) -> Any:
        means = np.array([run.sample(self.config.samples, seed=seed).double().mean() for run in runs])
        with seeded(seed, "number"):
            number = torch.rand(()).item()
        picture = Picture(figsize=(1, 1))
        picture.add_subplot().plot(means)
        return Drawing(picture, {"means": means, "number": np.array(number), "labels": [run.label for run in runs]})


def broken(change: Any) -> Any:
    """The figure with another `draw`, which gets the figure, the runs, and the seed."""
    return type("Broken", (Means,), {"name": "test_broken", "draw": change})


def without_seed(self: Any, runs: Any, seed: int) -> Any:
    with torch.random.fork_rng():
        number = torch.rand(()).item()
    return Drawing(Picture(figsize=(1, 1)), {"number": np.array(number)})


def draws_outside(self: Any, runs: Any, seed: int) -> Any:
    torch.rand(1)
    return Means.draw(self, runs, seed)


def small_seeds(self: Any, runs: Any, seed: int) -> Any:
    np.random.RandomState(seed)
    return Means.draw(self, runs, seed)


def raises(self: Any, runs: Any, seed: int) -> Any:
    raise KeyError("no such label")


def with_pyplot(self: Any, runs: Any, seed: int) -> Any:
    from matplotlib import pyplot

    pyplot.figure()
    return Means.draw(self, runs, seed)


def with_names(self: Any, runs: Any, seed: int) -> Any:
    drawing = Means.draw(self, runs, seed)
    drawing.picture.text(0.1, 0.1, f"{random.random()}")  # python's generator is not torch's
    return drawing


@pytest.fixture(autouse=True)
def closed() -> Any:
    yield
    from matplotlib import pyplot

    pyplot.close("all")


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (without_seed, "draw(runs, 0), twice, as a file .npz\n     came back: other bytes the second time"),
        (with_names, "draw(runs, 0), twice, as a file .png\n     came back: other bytes the second time"),
        (draws_outside, "contract:  a figure leaves the random state as it is, and draws by its seed alone"),
        (small_seeds, "draw(2 runs, 4294967296)\n     came back: ValueError: Seed must be between 0 and 2**32 - 1"),
        (
            raises,
            "came back: KeyError: 'no such label'\n     contract:  a figure draws, or refuses runs with a genprior",
        ),
        (lambda self, runs, seed: Picture(), "came back: a Figure\n     contract:  a genprior.Drawing of a matplotlib"),
        (lambda self, runs, seed: Drawing(Picture(), {"runs": runs}), "came back: arrays of objects: runs"),
        (lambda self, runs, seed: runs.pop() and Means.draw(self, runs, seed), "the list of runs has changed"),
        (with_pyplot, "came back: a figure of pyplot, which stays open"),
    ],
)
def test_a_broken_promise_is_reported(draw: Any, message: str) -> None:
    with pytest.raises(ContractError) as caught:
        check_figure(broken(draw))
    assert message in str(caught.value)
    assert "figure 'test_broken'" in str(caught.value)


def test_what_is_not_broken_passes() -> None:
    check_figure(Means)
    check_figure(Means.Config(samples=1))


@pytest.mark.parametrize("error", [PlanError, DataError])
def test_a_figure_may_refuse_runs(error: type[Exception]) -> None:
    def draw(self: Any, runs: Any, seed: int) -> Any:
        raise error("give other runs")

    check_figure(broken(draw))


@pytest.mark.parametrize(
    "part",
    [
        SmallCodes.Config(grid=2),
        SmallCodes.Config(grid=2, show="reconstructions"),
        SupervisedGrid,
        SupervisedCodes,
        ImagesOfSentences.Config(noises=1, sentences=1),
        ColourSweep.Config(noises=1, words=("red", "teal")),
    ],
)
def test_standard_figures_keep_the_contract(part: Any) -> None:
    check_figure(part)


def test_it_needs_a_figure() -> None:
    with pytest.raises(ContractError, match="a figure is needed here: a class derived from genprior.Figure"):
        check_figure(int)  # type: ignore[arg-type]
