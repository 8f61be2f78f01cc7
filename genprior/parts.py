"""The extension points: what a part is, and one base class for each kind of part.

Letters: n batch, d code, k condition, c h w image. Images are [n, c, h, w] in [-1, 1].

A part has a `kind` (its base class says which), a `name` (how recipes call it), a nested pydantic `Config`, and the
roles that it `borrows` from the model that uses it. A capability is a class: a model that needs a density asks for a
`DensityPrior`, once, when it is built.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, cast

import torch
from pydantic import BaseModel, ConfigDict, PlainValidator, SerializeAsAny, ValidationInfo, WithJsonSchema, create_model
from torch import Tensor, nn

from genprior.errors import PlanError

__all__ = [
    "AutoregressiveDecoder",
    "Batch",
    "Borrowed",
    "Build",
    "Condition",
    "Conditioner",
    "ConditionerSpec",
    "Critic",
    "CriticSpec",
    "DataInfo",
    "Dataset",
    "DatasetSpec",
    "Decoder",
    "DecoderSpec",
    "DensityPosterior",
    "DensityPrior",
    "Encoder",
    "EncoderSpec",
    "Exporter",
    "FeatureCritic",
    "Game",
    "GameSpec",
    "ImageSet",
    "Model",
    "ModelSpec",
    "ModulePart",
    "Objectives",
    "Part",
    "PartConfig",
    "Phase",
    "PointPosterior",
    "Posterior",
    "Prior",
    "PriorSpec",
    "Reconstruction",
    "ReconstructionSpec",
    "Score",
    "ScoreContext",
    "ScoreSpec",
    "Sizes",
    "Widths",
]


# ---------------------------------------------------------------------------------------------------------------------
# What passes between parts
# ---------------------------------------------------------------------------------------------------------------------


class Sizes(NamedTuple):
    """Every size that a part may depend on, fixed before any module exists."""

    image: tuple[int, int, int]
    """(c, h, w)."""
    code: int
    """d, the width of a code."""
    known: int
    """Width of what is told about images; 0 without a condition."""
    asked: int
    """Width of what is asked of new images; 0 without a condition."""


class Widths(NamedTuple):
    """The widths of a `Condition`."""

    known: int
    asked: int


class Condition(NamedTuple):
    """What is told about these images and what is asked of new ones: [n, known], [n, asked]. Width 0, never None."""

    known: Tensor
    asked: Tensor


class Batch(NamedTuple):
    """Images `x` [n, c, h, w] in [-1, 1] and their labels `y` [n] (int64; all zero where a data set has none)."""

    x: Tensor
    y: Tensor


class DataInfo(NamedTuple):
    """What a model may know of its data before it is built."""

    image: tuple[int, int, int]
    """(c, h, w)."""
    classes: tuple[str, ...]
    """Class names in label order; empty where there are no labels."""


class ImageSet(NamedTuple):
    """One split of a data set, decoded: `images` uint8 [n, c, h, w], `labels` int64 [n], class names in label order."""

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]

    @property
    def info(self) -> DataInfo:
        """What a model may know of this data."""
        c, h, w = self.images.shape[1:]
        return DataInfo((c, h, w), self.classes)


# ---------------------------------------------------------------------------------------------------------------------
# A part and its configuration
# ---------------------------------------------------------------------------------------------------------------------


class PartConfig(BaseModel):
    """The settings of a part; nest a subclass called `Config` in the part. Frozen, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
    part: ClassVar[type[Part]]
    """The class that these settings belong to."""
    name: str = ""
    """Which part; set by the part that owns this configuration."""

    def make(self, *args: Any, **borrowed: Any) -> Any:
        """Make the part that these settings describe: `config.make(sizes)` for a part nested in another part."""
        return self.part(self, *args, **borrowed)  # type: ignore[call-arg]


class Part:
    """Base of all parts. A subclass with a `name` can be registered and called by that name in a recipe."""

    kind: ClassVar[str] = ""
    name: ClassVar[str] = ""
    Config: ClassVar[type[PartConfig]] = PartConfig
    borrows: ClassVar[tuple[str, ...]] = ()
    """Roles of the model whose modules this part uses without owning them; they arrive as keyword arguments."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Give a named part a configuration class of its own that knows the part's name."""
        super().__init_subclass__(**kwargs)
        if "name" in cls.__dict__:
            name: Any = Literal[cls.name]
            made = create_model("Config", __base__=cls.Config, __module__=cls.__module__, name=(name, cls.name))
            own = cast(type[PartConfig], made)
            own.__qualname__ = f"{cls.__qualname__}.Config"
            own.__doc__ = cls.Config.__doc__
            own.part = cls
            cls.Config = own


class ModulePart(Part, nn.Module):
    """A part that is a module: it may own parameters, and lives on a device."""

    def __init__(self, config: PartConfig, sizes: Sizes) -> None:
        """Remember the settings and the sizes.

        Args:
            config: this part's settings.
            sizes: every size that it may depend on.
        """
        nn.Module.__init__(self)
        self.config: Any = config
        self.sizes = sizes


class Borrowed:
    """A module that a part uses and another part owns.

    It forwards calls and attributes, and is no `nn.Module`, so it enters neither `parameters()` nor `state_dict()` of
    the part that holds it.
    """

    def __init__(self, module: nn.Module) -> None:
        """Wrap `module`."""
        self._module = module

    def __call__(self, *args: Any) -> Any:
        """Call the owner's module."""
        return self._module(*args)

    def __getattr__(self, name: str) -> Any:
        """Read an attribute of the owner's module."""
        if name.startswith("__") or "_module" not in self.__dict__:  # while it is copied or unpickled
            raise AttributeError(name)
        return getattr(self.__dict__["_module"], name)

    def is_a(self, capability: type) -> bool:
        """Whether the owner's module is of the class `capability`."""
        return isinstance(self._module, capability)


def _pick(kind: str) -> Callable[[Any, ValidationInfo], PartConfig]:
    """A validator that finds the part's own `Config` by its name in the registry, which is the validation context."""

    def validate(value: Any, info: ValidationInfo) -> PartConfig:
        if isinstance(value, PartConfig):
            if value.part.kind != kind:
                raise ValueError(f"a {kind} is needed here; '{value.name}' is a {value.part.kind}")
            return value
        registry = (info.context or {}).get("registry")
        if registry is None:
            raise ValueError("a part given as a table needs a registry; use genprior.load_recipe, or pass a Config")
        config: PartConfig = registry.configure(kind, value, info.context)
        return config

    return validate


# A field of one of these types takes a table whose `name` says which part, for example `prior = { name = "gaussian" }`.
PriorSpec = Annotated[SerializeAsAny[PartConfig], PlainValidator(_pick("prior")), WithJsonSchema({"part": "prior"})]
EncoderSpec = Annotated[
    SerializeAsAny[PartConfig], PlainValidator(_pick("encoder")), WithJsonSchema({"part": "encoder"})
]
DecoderSpec = Annotated[
    SerializeAsAny[PartConfig], PlainValidator(_pick("decoder")), WithJsonSchema({"part": "decoder"})
]
CriticSpec = Annotated[SerializeAsAny[PartConfig], PlainValidator(_pick("critic")), WithJsonSchema({"part": "critic"})]
ReconstructionSpec = Annotated[
    SerializeAsAny[PartConfig], PlainValidator(_pick("reconstruction")), WithJsonSchema({"part": "reconstruction"})
]
ConditionerSpec = Annotated[
    SerializeAsAny[PartConfig], PlainValidator(_pick("conditioner")), WithJsonSchema({"part": "conditioner"})
]
GameSpec = Annotated[SerializeAsAny[PartConfig], PlainValidator(_pick("game")), WithJsonSchema({"part": "game"})]
ModelSpec = Annotated[SerializeAsAny[PartConfig], PlainValidator(_pick("model")), WithJsonSchema({"part": "model"})]
DatasetSpec = Annotated[
    SerializeAsAny[PartConfig], PlainValidator(_pick("dataset")), WithJsonSchema({"part": "dataset"})
]
ScoreSpec = Annotated[SerializeAsAny[PartConfig], PlainValidator(_pick("score")), WithJsonSchema({"part": "score"})]


# ---------------------------------------------------------------------------------------------------------------------
# Priors
# ---------------------------------------------------------------------------------------------------------------------


class Prior(ModulePart, ABC):
    """Where codes come from: p(z), or p(z | asked).

    A prior can be sampled. If it also knows its density, derive from `DensityPrior`.
    """

    kind = "prior"

    @abstractmethod
    def sample(self, asked: Tensor) -> Tensor:
        """Draw one code for each row of `asked`, differentiably in the prior's own parameters.

        Args:
            asked: [n, k] what is asked of each new image; k is 0 without a condition.

        Returns:
            Codes [n, d] on the device and in the dtype of `asked`.
        """


class DensityPrior(Prior):
    """A prior that knows its density: the capability that models trained by likelihood demand."""

    @abstractmethod
    def log_prob(self, z: Tensor, asked: Tensor) -> Tensor:
        """The natural logarithm of p(z | asked), normalised.

        Args:
            z: codes [n, d].
            asked: [n, k].

        Returns:
            [n], in nats.
        """


# ---------------------------------------------------------------------------------------------------------------------
# Networks
# ---------------------------------------------------------------------------------------------------------------------


class Posterior(ABC):
    """A distribution of codes given images, q(z | x)."""

    @property
    @abstractmethod
    def mean(self) -> Tensor:
        """The mean code [n, d]."""

    @abstractmethod
    def rsample(self) -> Tensor:
        """A code [n, d] for each image, differentiable in the encoder's parameters."""


class DensityPosterior(Posterior):
    """A posterior that knows its density."""

    @abstractmethod
    def log_prob(self, z: Tensor) -> Tensor:
        """The natural logarithm of q(z | x): [n] for z [n, d]."""


class PointPosterior(Posterior):
    """A deterministic encoder's posterior: all mass on one code."""

    def __init__(self, z: Tensor) -> None:
        """Put all mass on `z` [n, d]."""
        self._z = z

    @property
    def mean(self) -> Tensor:
        """The code itself."""
        return self._z

    def rsample(self) -> Tensor:
        """The code itself."""
        return self._z


class Encoder(ModulePart, ABC):
    """From images to a posterior over codes."""

    kind = "encoder"

    @abstractmethod
    def forward(self, x: Tensor, known: Tensor) -> Posterior:
        """q(z | x, known) for images x [n, c, h, w] in [-1, 1] and known [n, k]."""


class Decoder(ModulePart, ABC):
    """From codes to images."""

    kind = "decoder"

    @abstractmethod
    def forward(self, z: Tensor, known: Tensor) -> Tensor:
        """Images [n, c, h, w] in [-1, 1] from codes z [n, d] and known [n, k]."""


class AutoregressiveDecoder(Decoder):
    """A decoder that knows the exact likelihood of an image given its code."""

    @abstractmethod
    def log_prob(self, x: Tensor, z: Tensor, known: Tensor) -> Tensor:
        """The natural logarithm of p(x | z, known): [n]."""


class Critic(ModulePart, ABC):
    """A score [n] of codes [n, d] or of images [n, c, h, w]: a logit, high for what looks like the positive samples."""

    kind = "critic"

    @abstractmethod
    def forward(self, x: Tensor, known: Tensor) -> Tensor:
        """Logits [n] of x, which is codes [n, d] or images [n, c, h, w], with known [n, k]."""


class FeatureCritic(Critic):
    """An image critic whose features can be borrowed, by a learned similarity or by InfoGAN's head."""

    @property
    @abstractmethod
    def feature_layers(self) -> tuple[str, ...]:
        """The names of the layers whose output `features` can give, from the image to the logit."""

    @abstractmethod
    def features(self, x: Tensor, known: Tensor, layer: str) -> Tensor:
        """The feature map F(x) after the named layer (with its normalisation and activation), flattened: [n, f].

        Computes no layer beyond the named one.
        """

    @abstractmethod
    def trunk(self, x: Tensor, known: Tensor) -> Tensor:
        """What the critic's last layer sees, and what an auxiliary head may share: [n, t]."""

    @property
    @abstractmethod
    def trunk_width(self) -> int:
        """t, the width of `trunk`."""


# ---------------------------------------------------------------------------------------------------------------------
# Reconstruction, condition, game
# ---------------------------------------------------------------------------------------------------------------------


class Reconstruction(ModulePart, ABC):
    """How far a reconstruction is from its image."""

    kind = "reconstruction"

    @abstractmethod
    def forward(self, x: Tensor, x_rec: Tensor, known: Tensor) -> Tensor:
        """The error [n] of each reconstruction x_rec [n, c, h, w] of x; its class says what is reduced, and how."""


class Conditioner(ModulePart, ABC):
    """What is told about images and asked of new ones."""

    kind = "conditioner"

    @classmethod
    @abstractmethod
    def widths(cls, config: Any, info: DataInfo) -> Widths:
        """The widths of the condition, known before any module exists.

        Raises:
            PlanError: the data has not what this conditioner needs (labels, for example).
        """

    @abstractmethod
    def forward(self, batch: Batch) -> Condition:
        """The condition of a training batch."""

    @abstractmethod
    def draw(self, like: Tensor) -> Condition:
        """A condition drawn for new images, one for each row of `like` (any tensor of the right device and length)."""

    def of_label(self, y: Tensor) -> Condition:
        """The condition that asks for images of class y [n].

        Raises:
            PlanError: this conditioner asks for no class.
        """
        raise PlanError(f"conditioner '{self.name}' asks for no label; sample without one, or train with 'label'")

    def consistency(self, x: Tensor, asked: Tensor) -> Tensor:
        """E[-log Q(asked | x)], a scalar in nats: how badly images x show what was asked of them. 0 by default."""
        return x.new_zeros(())


class Game(ModulePart, ABC):
    """An adversarial game, stated as losses to minimise, on logits.

    A sample is a pair (x, known). `critic` is called as `critic(x, known)`; both losses are given the same critic and
    the same tensors, so that a model may let them share one forward pass (see `genprior.step.remember`).
    """

    kind = "game"

    @abstractmethod
    def critic_loss(
        self, critic: Callable[[Tensor, Tensor], Tensor], real: tuple[Tensor, Tensor], *fakes: tuple[Tensor, Tensor]
    ) -> Tensor:
        """The scalar that the critic descends: high on `real`, low on each of `fakes`."""

    @abstractmethod
    def generator_loss(self, critic: Callable[[Tensor, Tensor], Tensor], *fakes: tuple[Tensor, Tensor]) -> Tensor:
        """The scalar that whoever made `fakes` descends."""


# ---------------------------------------------------------------------------------------------------------------------
# Models
# ---------------------------------------------------------------------------------------------------------------------


class Objectives(Mapping[str, Tensor]):
    """What a phase returns: for each module, by name, the scalar that this module descends.

    Modules that share one loss tensor share one backward pass. `note` holds scalars that are only recorded.
    """

    def __init__(self, losses: Mapping[str, Tensor], note: Mapping[str, Tensor] | None = None) -> None:
        """Collect the losses by module name, and what to record beside them."""
        self.losses = dict(losses)
        self.note = dict(note or {})

    def __getitem__(self, module: str) -> Tensor:
        """The loss of `module`."""
        return self.losses[module]

    def __iter__(self) -> Iterator[str]:
        """The names of the modules that move."""
        return iter(self.losses)

    def __len__(self) -> int:
        """How many modules move."""
        return len(self.losses)


class Phase(NamedTuple):
    """A step of training: who moves, down which loss, and in which steps."""

    name: str
    objectives: Callable[[Batch], Objectives]
    every: int = 1
    """Run in each `every`-th step."""


class Build:
    """How a model makes its parts; the real one is `genprior.build.Builder`."""

    def __call__(self, role: str, config: PartConfig, sizes: Sizes) -> Any:
        """Make the part of `config` for `role`, under a seed of its own, lending it the roles that it borrows."""
        raise PlanError("a model is built by genprior.build")


class Model(Part, nn.Module, ABC):
    """A paper's algorithm: its `Config` lists its parts, its phases say who descends what."""

    kind = "model"
    generating: ClassVar[tuple[str, ...]] = ("decoder", "prior")
    """The modules that make images; their weights are the ones averaged by `run.ema`."""

    def __init__(self, config: PartConfig) -> None:
        """Remember the settings; a subclass takes `(config, info: DataInfo, build: Build)` and makes its parts."""
        nn.Module.__init__(self)
        self.config: Any = config

    @abstractmethod
    def phases(self) -> tuple[Phase, ...]:
        """The phases of one step, in order."""

    @abstractmethod
    def condition(self, like: Tensor, y: Tensor | None = None) -> Condition:
        """A condition for new images, one for each row of `like`: drawn, or the one that asks for classes y [n]."""

    @abstractmethod
    def generate(self, condition: Condition) -> Tensor:
        """New images [n, c, h, w] in [-1, 1], one for each row of the condition."""

    def reconstruct(self, batch: Batch) -> Tensor | None:
        """The batch encoded and decoded, for pictures; None where a model has no encoder."""
        return None


# ---------------------------------------------------------------------------------------------------------------------
# Data, scores, exports
# ---------------------------------------------------------------------------------------------------------------------


class Dataset(Part, ABC):
    """A set of images."""

    kind = "dataset"

    def __init__(self, config: PartConfig) -> None:
        """Remember the settings; nothing is read before `load`."""
        self.config: Any = config

    @abstractmethod
    def load(self, split: str) -> ImageSet:
        """Read the split `"train"` or `"test"`.

        Raises:
            DataError: the data is missing (the message says how to get it), empty, corrupt or of a wrong shape.
        """


class ScoreContext(ABC):
    """What a score may ask for: generated images, real ones, and where it runs."""

    device: torch.device
    seed: int

    @abstractmethod
    def generated(self, n: int) -> Tensor:
        """N generated images, uint8 [n, c, h, w] on the host; the first n of one fixed sequence."""

    @abstractmethod
    def real(self, split: str) -> ImageSet:
        """The data set's split `"train"` or `"test"`."""


class Score(Part, ABC):
    """A number that says how good generated images are."""

    kind = "score"
    higher_is_better: ClassVar[bool]

    def __init__(self, config: PartConfig) -> None:
        """Remember the settings."""
        self.config: Any = config

    @abstractmethod
    def measure(self, context: ScoreContext) -> dict[str, float]:
        """The score by name, with `<name>_std` where there are splits, and `real_<name>` for held-out real images.

        Raises:
            ScoreError: it cannot be computed from what is there; the message says the ways out.
        """


class Exporter(Part, ABC):
    """A way to write generated images."""

    kind = "exporter"

    def __init__(self, config: PartConfig) -> None:
        """Remember the settings."""
        self.config: Any = config

    @abstractmethod
    def write(self, model: Model, path: Any, *, n: int, seed: int, label: int | None) -> None:
        """Write n images of `model`, drawn under `seed`, to the file `path`, whole or not at all."""
