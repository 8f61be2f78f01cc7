"""A model, its phases, and what a phase returns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, cast

from torch import Tensor, nn

from genprior.errors import PlanError
from genprior.parts.base import ModulePart, Part, PartConfig
from genprior.parts.priors import Prior
from genprior.parts.training import Conditioner
from genprior.parts.values import Batch, Condition, Sizes

__all__ = ["Build", "Model", "Objectives", "Phase"]


class Objectives(Mapping[str, Tensor]):
    """What a phase returns: for each module, by name, the scalar that this module descends.

    Modules that share one loss tensor share one backward pass. `note` holds scalars that are only recorded. A module
    that has its optimum in closed form descends nothing: `updates` holds, by its name, what sets it there. Updates run
    last, without gradients, in the order of the mapping.
    """

    def __init__(
        self,
        losses: Mapping[str, Tensor],
        note: Mapping[str, Tensor] | None = None,
        updates: Mapping[str, Callable[[], None]] | None = None,
    ) -> None:
        """Collect the losses by module name, what to record beside them, and closed-form updates by module name."""
        self.losses = dict(losses)
        self.note = dict(note or {})
        self.updates = dict(updates or {})

    @property
    def moved(self) -> tuple[str, ...]:
        """The names of all modules that the phase moves, down a loss or in closed form."""
        return tuple(dict.fromkeys((*self.losses, *self.updates)))

    def __getitem__(self, module: str) -> Tensor:
        """The loss of `module`."""
        return self.losses[module]

    def __iter__(self) -> Iterator[str]:
        """The names of the modules that descend a loss."""
        return iter(self.losses)

    def __len__(self) -> int:
        """How many modules descend a loss."""
        return len(self.losses)


class Phase(NamedTuple):
    """A step of training: who moves, down which loss, and in which steps."""

    name: str
    objectives: Callable[[Batch], Objectives]
    every: int = 1
    """Run in each `every`-th step."""


class Build:
    """How a model makes its parts; the real one is `genprior.engine.build.Builder`."""

    def __call__(self, role: str, config: PartConfig, sizes: Sizes) -> Any:
        """Make the part of `config` for `role`, under a seed of its own, lending it the roles that it borrows."""
        raise PlanError("a model is built by genprior.engine.build")

    def parts(
        self, model: Model, sizes: Sizes, *, of: Mapping[str, Sizes] | None = None, without: Collection[str] = ()
    ) -> None:
        """Make every part that the model's settings name: field `encoder` becomes `model.encoder`.

        Parts are made in the order of the fields, but that a part which borrows waits for those it borrows; one that
        borrows what is not made here comes last, so that the error can say what there is to lend.

        Args:
            model: its `config` holds the parts' settings.
            sizes: the sizes of each part that `of` does not name.
            of: sizes by field, where a part has others than the rest.
            without: fields whose parts are not made.

        Raises:
            PlanError: a part borrows a role that the model does not make.
        """
        fields = {role: getattr(model.config, role) for role in type(model.config).model_fields}
        waiting = {role: it for role, it in fields.items() if isinstance(it, PartConfig) and role not in without}
        made: set[str] = set()
        while waiting:
            borrowed = {role: {*config.part.borrows} for role, config in waiting.items()}
            # The first that waits for nobody and lacks nothing; else one that waits for nobody; else any.
            role = min(waiting, key=lambda role: (bool(borrowed[role] & waiting.keys()), bool(borrowed[role] - made)))
            setattr(model, role, self(role, waiting.pop(role), (of or {}).get(role, sizes)))
            made.add(role)


class Model(Part, nn.Module, ABC):
    """A paper's algorithm: its `Config` lists its parts, its phases say who descends what."""

    kind = "model"
    generating: ClassVar[tuple[str, ...]] = ("decoder", "prior")
    """The modules that make images; their weights are the ones averaged by `run.ema`."""
    makes_images: ClassVar[bool] = True
    """Whether `generate` makes images; for a model that does not, it raises a `PlanError`, and no samples are drawn."""

    def __init__(self, config: PartConfig) -> None:
        """Remember the settings; a subclass takes `(config, info: DataInfo, build: Build)` and makes its parts."""
        nn.Module.__init__(self)
        self.config: Any = config

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Parts are attributes named by the fields of the settings, which a type checker cannot follow."""

    @abstractmethod
    def phases(self) -> tuple[Phase, ...]:
        """The phases of one step, in order."""

    def part_for(self, role: str) -> nn.Module | None:
        """The module that the model made for a role such as `prior`; None where it made none."""
        return dict(self.named_children()).get(role)

    def condition(self, like: Tensor, y: Tensor | None = None) -> Condition:
        """A condition for new images, one for each row of `like`: drawn, or the one that asks for classes y [n].

        As the model's `conditioner` says; a model without one answers for itself.
        """
        conditioner = cast(Conditioner, self.conditioner)
        return conditioner.draw(like) if y is None else conditioner.of_label(y)

    def begin(self, draw: Callable[[int], Batch]) -> None:
        """Start from training images: called once, on the device, before the first step of a run that is not resumed.

        Each module that has a `begin` is given them, in the order in which the model made its modules.

        Args:
            draw: gives n different training images, drawn at random, as they are trained on.
        """
        for module in self.children():
            if isinstance(module, ModulePart):
                module.begin(draw)

    @abstractmethod
    def generate(self, condition: Condition) -> Tensor:
        """New images [n, c, h, w] in [-1, 1], one for each row of the condition."""

    def clusters(self, batch: Batch) -> Tensor | None:
        """How likely each of K clusters is for each image, [n, K], rows that sum to 1; None where a model has none.

        As the model's `conditioner` reads them, where it has one.
        """
        conditioner = self.part_for("conditioner")
        return conditioner.clusters(batch.x) if isinstance(conditioner, Conditioner) else None

    def reconstruct(self, batch: Batch) -> Tensor | None:
        """The batch encoded and decoded, for pictures; None where a model has no encoder."""
        return None

    def encode(self, batch: Batch) -> Tensor | None:
        """The mean code [n, d] of each image, for pictures of the space of codes; None where a model has no encoder."""
        return None

    def decode(self, z: Tensor, condition: Condition) -> Tensor | None:
        """Images [n, c, h, w] of codes z [n, d] as `encode` gives them; None where a model cannot decode at will."""
        return None

    def draw_codes(self, condition: Condition) -> Tensor | None:
        """New codes [n, d] as `encode` gives those of images, one for each row of the condition, for pictures.

        Draws of the prior, unless a model encodes to something else; None where it has no prior.
        """
        prior = self.part_for("prior")
        return prior.sample(condition.asked) if isinstance(prior, Prior) else None

    def walk(self, columns: int, like: Tensor) -> Tensor | None:
        """Codes [rows, columns, d] that `decode` takes, neighbours next to one another, for a picture of images.

        The walk of the prior, unless a model decodes something else; None where it has none.

        Args:
            columns: how many codes a row.
            like: any floating point tensor of the right device and dtype.
        """
        prior = self.part_for("prior")
        return prior.walk(columns, like) if isinstance(prior, Prior) else None

    def cluster_heads(self) -> Tensor | None:
        """An image [K, c, h, w] of each cluster with the plainest style, z = 0; None where a model has none."""
        return None

    def classify(self, batch: Batch) -> Tensor | None:
        """How likely each class is for each image, [n, classes] in label order; None where a model does not classify.

        The labels of `batch` are not looked at.
        """
        return None

    def log_likelihood(self, batch: Batch) -> Tensor | None:
        """The natural logarithm of p(x), exact or a lower bound, [n] in nats; None where a model has none.

        A model whose bound is a draw from q(z | x) is a `LikelihoodModel` and needs no such method.
        """
        return None

    def log_likelihood_given_code(self, batch: Batch) -> Tensor | None:
        """The natural logarithm of p(x | z) at the code z of each image, [n] in nats; None where a model has none.

        It leaves out what the code itself costs: it says how well images are remembered, and is no bound of log p(x).
        """
        return None
