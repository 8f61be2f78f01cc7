"""Models: what each paper's algorithm trains, and what a trained model can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor, nn

from genprior.errors import PlanError
from genprior.parts.base import ModulePart, Part, PartConfig
from genprior.parts.conditioners import Conditioner, TextConditioner
from genprior.parts.embedders import Embedder
from genprior.parts.phases import Phase
from genprior.parts.priors import Prior
from genprior.parts.values import Asks, Batch, Codes, Condition, Sizes

__all__ = ["Build", "Model"]


class Build:
    """Makes the parts of a model; implemented by `genprior.engine.build.Builder`."""

    def __call__(self, role: str, config: PartConfig, sizes: Sizes) -> Any:
        """Make the part of `config` for `role`, under its own seed, and lend it the roles that it borrows."""
        raise PlanError("a model is built by genprior.engine.build")

    def module(self, role: str, make: Callable[[], nn.Module]) -> Any:
        """Make a module of the model's own that is no part, such as a codebook, under its own seed.

        `self.codebook = build.module("codebook", lambda: nn.Embedding(64, 8))` has the same first weights whatever was
        made before it. As any module of the model, it has an optimiser of its name, is in checkpoints, and can be
        borrowed.

        Args:
            role: the attribute of the model that will hold it.
            make: returns the module.
        """
        raise PlanError("a model is built by genprior.engine.build")

    def parts(
        self, model: Model, sizes: Sizes, *, of: Mapping[str, Sizes] | None = None, without: Collection[str] = ()
    ) -> None:
        """Make every part that the model's settings name: field `encoder` becomes `model.encoder`.

        Parts are made in the order of the fields, except that a part is made after the parts that it borrows; one that
        borrows a part that is not made here comes last, so that the error can list the parts that can be lent.

        Args:
            model: its `config` holds the parts' settings.
            sizes: the sizes of each part that `of` does not name.
            of: sizes by field, for parts whose sizes differ.
            without: fields whose parts are not made.

        Raises:
            PlanError: a part borrows a role that the model does not make.
        """
        fields = {role: getattr(model.config, role) for role in type(model.config).model_fields}
        waiting = {role: it for role, it in fields.items() if isinstance(it, PartConfig) and role not in without}
        made: set[str] = set()
        while waiting:
            borrowed = {role: {*config.part.borrows_of(config)} for role, config in waiting.items()}
            # The first part of which all loans are made; else one that waits for no other part; else any.
            role = min(waiting, key=lambda role: (bool(borrowed[role] & waiting.keys()), bool(borrowed[role] - made)))
            setattr(model, role, self(role, waiting.pop(role), (of or {}).get(role, sizes)))
            made.add(role)


class Model(Part, nn.Module, ABC):
    """A paper's algorithm: its `Config` lists its parts, its phases state which module descends which loss."""

    kind = "model"
    generating: ClassVar[tuple[str, ...]] = ("decoder", "prior")
    """The modules that make images; `run.ema` averages their weights."""
    makes_images: ClassVar[bool] = True
    """Whether `generate` makes images; if not, it raises a `PlanError`, and no samples are drawn."""
    updates_prior: ClassVar[bool] = False
    """Whether the model updates a prior that is learned so, see `Prior.updated_by_model`."""
    uses_share: ClassVar[bool] = False
    """Whether losses depend on `Batch.share`: then a run of more steps differs from the first step on, and a finished
    run cannot be lengthened."""

    def __init__(self, config: PartConfig) -> None:
        """Hold the settings; a subclass takes `(config, info: DataInfo, build: Build)` and makes its parts."""
        nn.Module.__init__(self)
        self.config: Any = config

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Parts are attributes named by the fields of the settings, which a type checker cannot follow."""

    @abstractmethod
    def phases(self) -> tuple[Phase, ...]:
        """The phases of one step, in order."""

    def part_for(self, role: str) -> nn.Module | None:
        """The model's module for a role such as `prior`; None without one."""
        return dict(self.named_children()).get(role)

    @property
    def code_prior(self) -> Prior | None:
        """The prior from which new codes are drawn: the `fitted_prior` if there is one, else the `prior`; or None."""
        fitted, prior = self.part_for("fitted_prior"), self.part_for("prior")
        found = fitted if fitted is not None else prior
        return found if isinstance(found, Prior) else None

    def condition(self, like: Tensor, y: Tensor | None = None) -> Condition:
        """Conditions for new images, one for each row of `like`: drawn, or those of classes y [n].

        The model's `conditioner` makes them; without one they have width 0. A model that has no conditioner and takes
        classes overrides this method.

        Raises:
            PlanError: classes are given, and the model takes none.
        """
        conditioner = self.part_for("conditioner")
        if isinstance(conditioner, Conditioner):
            return conditioner.draw(like) if y is None else conditioner.of_label(y)
        if y is not None:
            raise PlanError(f"model '{self.name}' takes no label; sample without one")
        nothing = like.new_zeros(len(like), 0)
        return Condition(nothing, nothing)

    @property
    def asks(self) -> Asks:
        """What new images can be asked for by; by default as the model's `conditioner` states it.

        A model that overrides `condition` so that it takes classes overrides this too.
        """
        conditioner = self.part_for("conditioner")
        return conditioner.asks if isinstance(conditioner, Conditioner) else Asks()

    @property
    def embedder(self) -> Embedder | None:
        """The embedder of the sentences that the model is conditioned on; None for a model without text."""
        conditioner = self.part_for("conditioner")
        return conditioner.embedder if isinstance(conditioner, TextConditioner) else None

    def condition_on_text(self, text: Tensor) -> Condition:
        """Conditions for new images that embedded sentences describe, [n, size of the embedder].

        Raises:
            PlanError: the model is not conditioned on text.
        """
        conditioner = self.part_for("conditioner")
        if not isinstance(conditioner, TextConditioner):
            raise PlanError(
                f"model '{self.name}' of this run takes no text; sample without one, or train on captioned images with "
                "conditioner 'sentence'"
            )
        return conditioner.of_text(text)

    def begin(self, draw: Callable[[int | None], Batch]) -> None:
        """Initialise from training images: called once, on the device, before the first step of a new run.

        Calls `begin` of each part that is a module, in the order in which the model made them.

        Args:
            draw: returns n different training images, or all for None, drawn at random and preprocessed.
        """
        for module in self.children():
            if isinstance(module, ModulePart):
                module.begin(draw)

    @abstractmethod
    def generate(self, condition: Condition) -> Tensor:
        """New images [n, c, h, w] in [-1, 1], one for each row of the condition."""

    def clusters(self, batch: Batch) -> Tensor | None:
        """The probability of each of K clusters for each image, [n, K], rows that sum to 1; None without clusters.

        By default the model's `conditioner` infers them.
        """
        conditioner = self.part_for("conditioner")
        return conditioner.clusters(batch.x) if isinstance(conditioner, Conditioner) else None

    def reconstruct(self, batch: Batch) -> Tensor | None:
        """The batch encoded and decoded, for pictures; None where a model has no encoder."""
        return None

    def encode(self, batch: Batch) -> Tensor | None:
        """The mean code [n, d] of each image, for pictures of the code space; None where a model has no encoder."""
        return None

    def draw_posterior(self, batch: Batch) -> Codes | None:
        """A code z ~ q(z | x) of each image, with its condition, for a fitted prior; None where a model has no encoder.

        The codes are those of `encode` and `decode`, drawn instead of the mean.
        """
        return None

    def decode(self, z: Tensor, condition: Condition) -> Tensor | None:
        """Images [n, c, h, w] of codes z [n, d] as `encode` returns them; None without a decoder of codes."""
        return None

    def draw_codes(self, condition: Condition) -> Tensor | None:
        """New codes [n, d] in the space of `encode`, one for each row of the condition, for pictures.

        By default draws of the prior; None where the model has no prior.
        """
        prior = self.code_prior
        return prior.sample(condition.asked) if prior is not None else None

    def walk(self, columns: int, like: Tensor) -> Tensor | None:
        """Codes [rows, columns, d] for `decode`, of which neighbours are close, for a picture of interpolations.

        By default the walk of the prior; None where it has none.

        Args:
            columns: codes per row.
            like: any tensor whose device and floating point dtype the codes have.
        """
        prior = self.code_prior
        return prior.walk(columns, like) if prior is not None else None

    def cluster_heads(self) -> Tensor | None:
        """One image of each cluster with the style z = 0, [K, c, h, w]; None without clusters."""
        return None

    def classify(self, batch: Batch) -> Tensor | None:
        """The probability of each class for each image, [n, classes] in label order; None without a classifier.

        The labels of `batch` are ignored.
        """
        return None

    def log_likelihood(self, batch: Batch) -> Tensor | None:
        """The natural logarithm of p(x), exact or a lower bound, [n] in nats; None where a model has none.

        A `LikelihoodModel`, whose bound is estimated with draws from q(z | x), does not need this method.
        """
        return None

    def log_likelihood_given_code(self, batch: Batch) -> Tensor | None:
        """The natural logarithm of p(x | z) at the code z of each image, [n] in nats; None where a model has none.

        It ignores the cost of the code: it measures reconstruction and is not a bound of log p(x).
        """
        return None
