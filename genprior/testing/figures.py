"""The contract of a figure."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from genprior.errors import GenpriorError, PlanError
from genprior.parts import Attribute, Condition, Drawing, Figure, ImageSet, Model, PartConfig, Phase, TrainedRun
from genprior.randomness import derive, seeded
from genprior.testing.report import Contract, describe
from genprior.testing.settings import check_config, config_of

__all__ = ["check_figure"]

IMAGE = (3, 8, 8)
HELD_OUT = 40
COLOURS = ("red", "green", "blue", "white")
CLASSES = ("one", "two")


class _Noise(Model):
    """A model that is asked for nothing, and makes noise; it has no encoder, no prior and takes no text."""

    name = "stand_in"

    class Config(PartConfig):
        """It has none."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.scale = torch.nn.Parameter(torch.ones(()))

    def phases(self) -> tuple[Phase, ...]:
        return ()

    def condition(self, like: Tensor, y: Tensor | None = None) -> Condition:
        if y is not None:
            raise PlanError("this model takes no labels")
        return Condition(like.new_zeros(len(like), 0), like.new_zeros(len(like), 0))

    def generate(self, condition: Condition) -> Tensor:
        return torch.tanh(self.scale * torch.randn(len(condition.asked), *IMAGE))


class _StandIn:
    """A finished run whose images are noise, of a data set with labels, captions and an attribute."""

    classes = list(CLASSES)
    plan = SimpleNamespace()

    def __init__(self, label: str, seed: int) -> None:
        self.label, self.seed = label, seed
        self.model = _Noise(_Noise.Config()).eval()

    def images(self, split: str) -> ImageSet:
        with seeded("testing", split):
            images = torch.randint(256, (HELD_OUT, *IMAGE), dtype=torch.uint8)
        labels, colours = torch.arange(HELD_OUT) % 2, torch.arange(HELD_OUT) % len(COLOURS)
        captions = tuple((f"a {COLOURS[i % len(COLOURS)]} {CLASSES[i % 2]}",) for i in range(HELD_OUT))
        return ImageSet(images, labels, CLASSES, captions, (Attribute("colour", COLOURS, colours),))

    def sample(
        self, n: int, *, seed: int = 0, label: str | int | None = None, text: str | Sequence[str] | None = None
    ) -> Tensor:
        with seeded("testing", self.label, seed, label, text):
            return torch.randint(256, (n, *IMAGE), dtype=torch.uint8)


def check_figure(part: PartConfig | type[Figure], *, runs: Sequence[TrainedRun] = ()) -> None:
    """Check that a figure keeps its contract; see `genprior.Figure`.

    `draw` returns a `Drawing` of a figure of matplotlib, which was made without pyplot, and arrays of numbers and
    texts. The same runs and seed give the same files, byte for byte, whatever torch drew before; any seed from 0 is
    taken, 2^32 too; and the runs and torch's random state are left as they are. Where a figure refuses runs, it raises
    a `genprior.GenpriorError`, such as a `PlanError`.

    Args:
        part: the settings or the class.
        runs: those to draw; by default two stand-ins, which have labelled and captioned images of 8x8 pixels in colour
            and samples, but whose model can be asked for nothing and has no encoder. A figure that needs such a model
            refuses them, which is all that is checked then: give finished runs, as `genprior.load_run` returns them.

    Raises:
        ContractError: lists every promise that is broken.
    """
    config = config_of(part, Figure)
    shown: list[Any] = list(runs) or [_StandIn("first row", 0), _StandIn("second row", 1)]
    contract = Contract(config.part, f"{config!r}, and draws {len(shown)} runs")
    check_config(contract, config)
    files = _drawn(contract, config, shown, 0)
    if files is not None:
        again = _drawn(contract, config, shown, 0, disturbed=True)
        for ending, first, second in zip(files._fields, files, again or (), strict=False):
            contract.require(
                first == second,
                f"draw(runs, 0), twice, as a file .{ending}",
                "other bytes the second time",
                "the same runs and seed give the same picture and arrays",
                "draw inside `with genprior.seeded(seed, ...)`, and write no date",
            )
        _drawn(contract, config, shown, 2**32)
    contract.finish()


def _drawn(contract: Contract, config: PartConfig, runs: list[Any], seed: int, *, disturbed: bool = False) -> Any:
    """The files of a drawing; None where it is refused or wrong.

    Args:
        contract: gets the failures.
        config: makes the figure.
        runs: at least one.
        seed: of the figure.
        disturbed: torch draws something before.
    """
    from matplotlib.figure import Figure as Picture

    called = f"draw({len(runs)} runs, {seed})"
    made = contract.call(f"{config.part.__qualname__}(config)", config.make, "a part can be made")
    if made is None:
        return None
    given, opened = list(runs), _pyplot_figures()
    with seeded("testing", derive(disturbed)):
        before = torch.get_rng_state()
        try:
            drawing = made.draw(given, seed)
        except GenpriorError:
            return None  # it may refuse these runs
        except Exception as error:
            contract.raised(called, error, "a figure draws, or refuses runs with a genprior.GenpriorError")
            return None
        after = torch.get_rng_state()
    contract.require(
        torch.equal(before, after),
        called,
        "torch's random state has changed",
        "a figure leaves the random state as it is, and draws by its seed alone",
        "draw inside `with genprior.seeded(seed, ...)`",
    )
    contract.require(given == runs, called, "the list of runs has changed", "runs are left as they are", "copy it")
    contract.require(
        _pyplot_figures() == opened,
        called,
        "a figure of pyplot, which stays open",
        "the picture is made without pyplot",
        "use matplotlib.figure.Figure() in place of pyplot.figure()",
    )
    if not contract.require(
        isinstance(drawing, Drawing) and isinstance(drawing.picture, Picture),
        called,
        describe(drawing),
        "a genprior.Drawing of a matplotlib.figure.Figure and arrays",
        "return genprior.Drawing(picture, arrays)",
    ):
        return None
    objects = drawing.objects
    if not contract.require(
        not objects,
        called,
        f"arrays of objects: {', '.join(objects)}",
        "arrays hold numbers or texts, which an .npz keeps without pickle",
        "make them with numpy.array of numbers or texts of one shape",
    ):
        return None
    return contract.call(
        f"{called}, written as files",
        drawing.files,
        "the drawing can be written as PNG, PDF and .npz",
    )


def _pyplot_figures() -> int:
    """How many figures pyplot holds."""
    pyplot = sys.modules.get("matplotlib.pyplot")
    return 0 if pyplot is None else len(pyplot.get_fignums())
