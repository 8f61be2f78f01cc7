"""Builds models: each part is built under its own seed and can borrow modules that were built before it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from torch import nn

from genprior.errors import PlanError
from genprior.parts import (
    Borrowed,
    Build,
    DataInfo,
    DensityPosterior,
    Encoder,
    FittedPrior,
    Model,
    Part,
    PartConfig,
    Prior,
    Sizes,
)
from genprior.randomness import seeded
from genprior.recipe.tables import model_settings

__all__ = ["Builder", "build_model", "model_config"]


class Builder(Build):
    """Builds the parts of one model.

    Each part is built under (run seed, role), so two rows that share a part start from the same weights.
    """

    def __init__(self, model: str, seed: int, classes: int = 0) -> None:
        """Build parts for the model of this name under the run's seed, for data of so many classes."""
        self._model = model
        self._seed = seed
        self._classes = classes
        self._made: dict[str, nn.Module] = {}

    def __call__(self, role: str, config: PartConfig, sizes: Sizes) -> nn.Module:
        """Build the part that `config` describes for `role`.

        Raises:
            PlanError: the part borrows the module of a role that has not been built before, or it is a prior that is
                fitted to codes where one is trained, or the other way around.
        """
        part = config.part
        if issubclass(part, Prior):
            part.check_role(role)
        borrows = part.borrows_of(config)
        missing = [name for name in borrows if name not in self._made]
        if missing:
            raise PlanError(
                f"{part.kind} '{part.name}' borrows '{missing[0]}', which model '{self._model}' does not lend here. "
                f"It lends: {', '.join(self._made) or 'nothing'}. Choose another {part.kind} or another model."
            )
        with seeded(self._seed, role):
            made: nn.Module = config.make(
                sizes._replace(classes=self._classes), **{name: Borrowed(self._made[name]) for name in borrows}
            )
        self._made[role] = made
        return made

    def module(self, role: str, make: Callable[[], nn.Module]) -> nn.Module:
        """Make a module that is no part, under the seed of (run seed, role).

        Raises:
            PlanError: `make` does not return a module.
        """
        with seeded(self._seed, role):
            made = make()
        if not isinstance(made, nn.Module):
            raise PlanError(
                f"model '{self._model}' calls build.module('{role}', make), and make() returns a "
                f"{type(made).__name__}. It must return a torch.nn.Module, such as lambda: torch.nn.Embedding(64, 8)"
            )
        self._made[role] = made
        return made

    def check(self, model: Model) -> None:
        """Refuse parameters that were made outside of `build`: no seed of their own, or no optimiser.

        Raises:
            PlanError: names the first of them.
        """
        own = next((name for name, _ in model.named_parameters(recurse=False)), None)
        if own is not None:
            raise PlanError(
                f"parameter '{own}' of model '{self._model}' belongs to the model itself, and no optimiser would train "
                f"it: each module of a model has an optimiser of its own. Put it into a module, and make that with "
                f"build.module('{own}', ...)"
            )
        made = {id(parameter) for module in self._made.values() for parameter in module.parameters()}
        stray = next((name for name, each in model.named_parameters() if id(each) not in made), None)
        if stray is not None:
            role = stray.partition(".")[0]
            raise PlanError(
                f"model '{self._model}' makes '{role}' ({stray}) itself: its first weights would depend on what was "
                f"made before it. Write self.{role} = build.module('{role}', lambda: ...), which seeds it, or make a "
                f"part with build('{role}', config.{role}, sizes)"
            )


def build_model(config: PartConfig, info: DataInfo, seed: int) -> Model:
    """The model that `config` describes, for data of the form `info`, with weights initialised under `seed`.

    Raises:
        PlanError: its parts do not fit each other or the data, or it has parameters that `build` did not make.
    """
    _check_updates(config)
    build = Builder(config.name, seed, len(info.classes))
    with seeded(seed, "model"):  # what the model draws beside its parts, such as a buffer
        model: Model = config.make(info, build)
    build.check(model)
    _check_fitted(model)
    return model


def _check_updates(model: PartConfig) -> None:
    """Refuse a prior that the model would leave as it was drawn at first.

    Raises:
        PlanError: the prior is learned by updates, and the model makes none.
    """
    prior = dict(model).get("prior")
    if not isinstance(prior, PartConfig) or not issubclass(prior.part, Prior) or not issubclass(model.part, Model):
        return
    if prior.part.updated_by_model and not model.part.updates_prior:
        raise PlanError(
            f"prior '{prior.name}' is learned by closed-form updates, which model '{model.name}' does not make: it "
            "would stay as it was drawn at first. Choose another prior, or a model with such updates "
            "(docs/priors.md names it for each prior that needs one)"
        )


def _check_fitted(model: Model) -> None:
    """Refuse a fitted prior that draws codes where the encoder, as far as it is known, never puts any.

    Raises:
        PlanError: the codes are on the unit sphere, and those of the prior in all of R^d, or the other way around.
    """
    fitted, encoder = model.part_for("fitted_prior"), model.part_for("encoder")
    if not (isinstance(fitted, FittedPrior) and isinstance(encoder, Encoder)):
        return
    kind = encoder.posterior_of(encoder.config)
    # Posteriors without a density do not say where their codes lie.
    if issubclass(kind, DensityPosterior) and kind is not DensityPosterior and kind.support not in fitted.supports:
        places = ("on the unit sphere", "in all of space")
        there, here = places if kind.support == "unit_sphere" else places[::-1]
        raise PlanError(
            f"fitted_prior = '{fitted.name}' draws codes {here}, and the codes of encoder '{encoder.name}' lie {there}"
            f", so the decoder would get codes that it was not trained for. Leave fitted_prior out, choose one whose "
            f"`supports` have \"{kind.support}\" ('nearest' has), or choose another posterior of the encoder"
        )


def model_config(model: PartConfig | Mapping[str, Any], parts: Collection[type[Part]] = ()) -> PartConfig:
    """A model's settings, or those that the table `[model]` of a recipe describes.

    Args:
        model: the settings or the table.
        parts: classes that the table may name, beside those of the installed plugins.

    Raises:
        PlanError: lists every mistake of the table.
    """
    return model if isinstance(model, PartConfig) else model_settings(model, parts)
