"""Priors: distributions of codes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, Any, ClassVar, cast

import torch
from pydantic import PlainValidator, SerializeAsAny, ValidationInfo, WithJsonSchema
from torch import Tensor

from genprior.errors import PlanError
from genprior.parts.base import ModulePart, PartConfig, pick
from genprior.parts.phases import Phase
from genprior.parts.support import Support
from genprior.parts.values import Codes

__all__ = ["DensityPrior", "EnergyPrior", "FittedPrior", "FittedPriorSpec", "LeaveOneOutPrior", "Prior"]


class Prior(ModulePart, ABC):
    """The distribution of codes: p(z), or p(z | asked).

    A prior can be sampled. If its density can be computed, derive from `DensityPrior`.
    """

    kind = "prior"
    supports: ClassVar[tuple[Support, ...]] = ("space",)
    """Where its codes may lie, which must be where those of the posterior lie: "space", all of R^d; "bounded", a part
    of it, outside of which the density is 0; or "unit_sphere", with a density per surface. A prior that consists of
    the encoder's posteriors has several."""
    reparameterised: ClassVar[bool] = True
    """Whether `sample` is differentiable in the prior's own parameters. Where it is not, the prior learns from its
    density or energy alone, and no model can train it by a loss of its samples."""
    updated_by_model: ClassVar[bool] = False
    """Whether it is learned by closed-form updates that the model makes as training goes on: then only a model with
    `updates_prior` takes it, as in any other it would stay as it was drawn at first."""

    @abstractmethod
    def sample(self, asked: Tensor) -> Tensor:
        """Draw one code for each row of `asked`, differentiably in the prior's own parameters if `reparameterised`.

        Args:
            asked: the conditions of new images [n, k]; k is 0 without a condition.

        Returns:
            Codes [n, d] on the device and in the dtype of `asked`.
        """

    @classmethod
    def check_role(cls, role: str) -> None:
        """Refuse a prior where it cannot be learned: one that is not fitted to codes as `fitted_prior`.

        Args:
            role: the setting that names the prior, such as `prior` or `noise_prior`.

        Raises:
            PlanError: says where it belongs.
        """
        if role == "fitted_prior":
            raise PlanError(
                f"fitted_prior = '{cls.name}' cannot be fitted to codes after training: it is trained with the model, "
                "or fixed. Set it as 'prior', or choose one that `genprior parts prior` calls fitted"
            )

    def walk(self, columns: int, like: Tensor) -> Tensor | None:
        """A grid of codes of which neighbours are close, for a picture of interpolations; None where a prior has none.

        Args:
            columns: codes per row.
            like: any tensor whose device and floating point dtype the codes have.

        Returns:
            [rows, columns, d]: neighbours in a row are close in code space.
        """
        return None


class DensityPrior(Prior):
    """A prior whose density can be computed, as models trained by likelihood require."""

    @abstractmethod
    def log_prob(self, z: Tensor, asked: Tensor) -> Tensor:
        """The natural logarithm of p(z | asked), normalised.

        Args:
            z: codes [n, d].
            asked: [n, k].

        Returns:
            [n], in nats.
        """


class FittedPrior(Prior):
    """A prior that can be fitted to the codes of training images after the model is trained: its `fitted_prior`.

    A fit has two parts, of which a prior may need one alone. `begin_fit` sees the codes of all training images: it sets
    what has a closed form, and the scale of the codes. Then each step runs `phases` on a batch of codes, as a model's
    phases are run on a batch of images: they name the prior's child modules, which `run.fit.optimiser` trains. The
    encoder and the decoder are frozen. A prior that also has a density derives from `DensityPrior` too.
    """

    joint: ClassVar[bool] = False
    """Whether it can also be the `prior` of a model, with which it is trained."""
    closed_form: ClassVar[bool] = False
    """Whether `begin_fit` does all, so that there are no phases and the fit has one step."""
    sized_by_codes: ClassVar[tuple[str, ...]] = ()
    """Buffers whose shape depends on the codes; they take the shape that they have in a checkpoint."""

    @classmethod
    def summary(cls) -> str:
        """What it is, and that it can be fitted to codes."""
        return f"{super().summary()} {'Also fitted' if cls.joint else 'Fitted'} to codes after training."

    @classmethod
    def check_role(cls, role: str) -> None:
        """Refuse a prior that can only be fitted where one is trained with the model; see `Prior.check_role`.

        Raises:
            PlanError: says where it belongs.
        """
        if role != "fitted_prior" and not cls.joint:
            raise PlanError(
                f"{role} = '{cls.name}' is fitted to the codes of a trained model, and cannot be trained with it. "
                f'Set fitted_prior = {{ name = "{cls.name}" }} beside prior, which is used during training'
            )

    def check_codes(self, n: int) -> None:
        """Refuse to be fitted to n codes, before training; by default any number will do.

        Raises:
            PlanError: they are too few; the message says how many are needed.
        """

    def begin_fit(self, codes: Codes) -> None:
        """Start from the codes of all training images, without gradients; by default this does nothing.

        Args:
            codes: z [n, d] and asked [n, k] on the prior's device, in the order of the training images; with
                `run.fit.draws` above 1, that many draws of all images, one after another.
        """

    def phases(self) -> tuple[Phase, ...]:
        """The phases of one step, in order, whose objectives take a batch of `Codes`; none by default."""
        return ()

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        """Give the buffers of `sized_by_codes` the shapes of the state first."""
        for name in self.sized_by_codes:
            saved = state_dict.get(prefix + name)
            if isinstance(saved, Tensor):
                own: Tensor = getattr(self, name)
                setattr(self, name, torch.empty(saved.shape, dtype=own.dtype, device=own.device))
        super()._load_from_state_dict(state_dict, prefix, *args)


def _pick_fitted(value: Any, info: ValidationInfo) -> PartConfig:
    config = pick("prior")(value, info)
    try:
        cast(type[Prior], config.part).check_role("fitted_prior")
    except PlanError as error:
        raise ValueError(str(error)) from error
    return config


FittedPriorSpec = Annotated[SerializeAsAny[PartConfig], PlainValidator(_pick_fitted), WithJsonSchema({"part": "prior"})]
"""The type of a setting `fitted_prior`: a prior that is fitted to codes after the model is trained."""


class EnergyPrior(Prior):
    """A prior whose density is known up to its constant: p(z | asked) is proportional to exp(-energy(z, asked)).

    Models trained by likelihood take it where a gradient of log p is enough; its likelihood cannot be computed.
    """

    reparameterised = False

    @abstractmethod
    def energy(self, z: Tensor, asked: Tensor) -> Tensor:
        """The energy, -log p(z | asked) up to a constant that does not depend on z.

        Args:
            z: codes [n, d].
            asked: [n, k].

        Returns:
            [n], in nats.
        """

    def log_prob_surrogate(self, z: Tensor, asked: Tensor) -> Tensor:
        """Numbers whose gradients are, in expectation, those of log p(z | asked), if `sample` draws from p.

            energy(z') - energy(z),    z' ~ p(z | asked), without a gradient

        The gradient of log p in the parameters is that of -energy(z), minus its mean under p. The number itself is
        log p(z | asked) plus the entropy of p, in expectation.

        Args:
            z: codes [n, d].
            asked: [n, k].

        Returns:
            [n], in nats.
        """
        with torch.no_grad():
            drawn = self.sample(asked)
        return self.energy(drawn, asked) - self.energy(z, asked)


class LeaveOneOutPrior(DensityPrior):
    """A prior made of the training images, which leaves an image out of the density of its own code in training."""

    @abstractmethod
    def log_prob_without(self, z: Tensor, asked: Tensor, index: Tensor) -> Tensor:
        """The natural logarithm of p(z_i | asked_i) made without training image index_i, normalised.

        Args:
            z: codes [n, d].
            asked: [n, k].
            index: the place of each code's image among the training images, int64 [n]; see `Batch.index`.

        Returns:
            [n], in nats.
        """
