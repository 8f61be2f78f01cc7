"""Plan: the resolved and typed settings of one row of a recipe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import tomlkit
from pydantic import ValidationError, ValidationInfo, model_validator

from genprior.errors import PlanError
from genprior.parts import (
    Dataset,
    DatasetSpec,
    FittedPrior,
    ModelSpec,
    OptimiserConfig,
    OptimiserSpec,
    Part,
    PartConfig,
    Schedule,
    ScoreSpec,
    SettingsTable,
)
from genprior.recipe.fit import FitConfig
from genprior.recipe.optimiser import without_foreign
from genprior.recipe.run import KeepConfig, RunConfig
from genprior.registry import Registry, installed

__all__ = ["KeepConfig", "Plan", "RunConfig", "upgraded"]

_OF_TRAINING = (
    "steps", "batch", "labels", "labelled_batch", "shift", "rotate", "zoom", "ema", "ema_share", "clip_norm",
    "clip_value", "precision", "compile", "stop",
)  # fmt: skip
"""The settings of `run` that training depends on."""


class Plan(SettingsTable):
    """One row of a recipe with all its changes applied."""

    title: str = ""
    """The title of the recipe."""
    label: str
    """The row's name."""
    run: RunConfig
    """Training settings."""
    data: DatasetSpec
    """The data set."""
    scores: tuple[ScoreSpec, ...] = ()
    """The scores to measure after training."""
    optimiser: dict[str, OptimiserSpec]
    """Optimiser settings: `default`, and those of single modules."""
    model: ModelSpec
    """The model with its parts."""

    @property
    def fitted_prior(self) -> PartConfig | None:
        """The settings of the prior that is fitted to codes after training; None if the row has one stage."""
        fitted: PartConfig | None = dict(self.model).get("fitted_prior")
        return fitted

    @property
    def own_run(self) -> RunConfig:
        """The settings of the training that the row's own run folder holds: of the fit, if there is one."""
        return self.run if self.fitted_prior is None else self.second_stage().run

    def first_stage(self) -> Plan:
        """The training of the model alone, which rows with other fitted priors share."""
        run = self.run.model_copy(update={"fit": None})
        model = self.model.model_copy(update={"fitted_prior": None})
        return self.model_copy(update={"label": "first stage", "run": run, "model": model, "scores": ()})

    def second_stage(self) -> Plan:
        """The fit as a plan: `run` and `optimiser` are those of the fit.

        Raises:
            PlanError: the row has no fitted prior.
        """
        fitted, fit = self.fitted_prior, self.run.fit or FitConfig()
        if fitted is None:
            raise PlanError(f"row '{self.label}' has no fitted_prior, so it has no second stage")
        part = cast(type[FittedPrior], fitted.part)
        same = ("batch", "ema", "ema_share", "clip_norm", "clip_value", "precision")
        changed = {name: getattr(fit, name) for name in same}
        changed |= {"steps": 1 if part.closed_form else fit.steps, "epochs": None, "stop": None, "compile": False}
        optimiser = {"default": self.optimiser["default"], **fit.optimiser}
        return self.model_copy(update={"run": self.run.model_copy(update=changed), "optimiser": optimiser})

    @model_validator(mode="before")
    @classmethod
    def _upgrade(cls, table: Any, info: ValidationInfo) -> Any:
        """Upgrade a row that an older version resolved; see `Part.upgrade`.

        A row that is resolved now, with `written` in the context, keeps settings of other optimisers than the chosen
        one, which are mistakes there.
        """
        context = info.context or {}
        registry: Registry | None = context.get("registry")
        if registry is None or not isinstance(table, Mapping):
            return table
        model = table.get("model")
        if isinstance(model, Mapping) and isinstance(model.get("name"), str):
            for part in registry.all():
                table = _upgraded_by(part, table)
        return table if context.get("written") else _without_foreign(table, registry)

    def optimiser_of(self, module: str) -> OptimiserConfig:
        """The optimiser settings of a module: its own if given, else the default."""
        return self.optimiser.get(module, self.optimiser["default"])

    def optimisers_of(self, modules: Iterable[str]) -> dict[str, OptimiserConfig]:
        """The optimiser settings of modules, and those of the same modules in single phases, `<phase>/<module>`."""
        of = {name: self.optimiser_of(name) for name in modules}
        in_phases = {name: own for name, own in self.optimiser.items() if "/" in name}
        return of | {name: own for name, own in in_phases.items() if name.rpartition("/")[2] in of}

    def check_optimisers(self, modules: Iterable[str], trained: Iterable[str], phases: Iterable[str]) -> None:
        """Refuse optimiser settings for a module that the model does not have and that is no setting of it either.

        Args:
            modules: the names of the model's modules.
            trained: those with parameters.
            phases: the names of the phases of a step.

        Raises:
            PlanError: there is no such module, or no such phase.
        """
        trained, phases = list(trained), list(phases)
        for name in sorted(name for name in self.optimiser if "/" in name):
            phase, _, module = name.rpartition("/")
            if phase not in phases or module not in trained:
                raise PlanError(
                    f"optimiser.\"{name}\" is for module '{module}' in phase '{phase}' of model '{self.model.name}'. "
                    f"Its phases: {', '.join(phases)}; its modules: {', '.join(trained)}"
                )
        unknown = sorted(name for name in self.optimiser.keys() - {*modules, "default"} if "/" not in name)
        absent = [name for name in unknown if name not in type(self.model).model_fields]
        if absent:
            raise PlanError(
                f"optimiser.{absent[0]} is not a module of model '{self.model.name}'. "
                f"Possible: default, {', '.join(trained)}"
            )

    def check_averages(self, roles: Iterable[str], evaluated: Iterable[str]) -> None:
        """Refuse averaged weights of a module whose optimiser has weights of its own for evaluation.

        Args:
            roles: the modules whose weights `run.ema` or `run.ema_share` averages.
            evaluated: the parameters with such weights, by `module.parameter`.

        Raises:
            PlanError: names the module and its optimiser.
        """
        both = sorted({name.partition(".")[0] for name in evaluated} & set(roles))
        if self.run.averaging is not None and both:
            named = "run.ema" if self.run.ema_share is None else "run.ema_share"
            raise PlanError(
                f"{named} averages the weights of '{both[0]}' for evaluation, and so does its optimiser "
                f"'{self.optimiser_of(both[0]).name}', which would have no effect. Leave {named} out, or choose "
                f"another optimiser.{both[0]}"
            )

    def as_table(self) -> dict[str, Any]:
        """The plan as nested tables without nulls, as TOML requires."""
        table: dict[str, Any] = self.model_dump(mode="json", exclude_none=True)
        return table

    def as_toml(self) -> str:
        """The plan as a TOML text."""
        return tomlkit.dumps(self.as_table())

    def lasting(self, steps: int) -> Plan:
        """The plan with another number of steps."""
        return self.model_copy(update={"run": self.run.model_copy(update={"steps": steps})})

    def differences(self, other: dict[str, Any], registry: Registry | None = None) -> list[str]:
        """The settings in which training differs from a resolved plan of a run folder, one line each.

        Scores, seeds, hooks and intervals of writing are not compared, but for `run.log_every` where a schedule hears
        the records. A setting that is newer than the other plan counts as its default there. Renamed settings are the
        same.

        Args:
            other: the other plan, as written by the version that resolved it.
            registry: the registry of its parts; the installed parts by default.
        """
        other = upgraded(other, registry or installed())
        hears = self._hears_records()
        also, why = ("log_every",) if hears else (), {"run.log_every": f", and schedule '{hears}' hears each record"}
        mine, theirs = _leaves(_training_part(self.as_table(), also)), _leaves(_training_part(other, also))
        chosen = self.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
        by_default = mine.keys() - _leaves(_training_part(chosen, also)).keys()
        return [
            f"{path}: was {theirs.get(path, 'absent')!r}, is {mine.get(path, 'absent')!r}{why.get(path, '')}"
            for path in sorted(mine.keys() | theirs.keys())
            if mine.get(path, "absent") != theirs.get(path, "absent")
            and not self._without_effect(path)
            and not (
                path in by_default and path not in theirs and any(_under(path, other_path) for other_path in theirs)
            )
        ]

    def _without_effect(self, path: str) -> bool:
        """Whether a setting changes no number: how images are read, or a fit that has no steps, in closed form."""
        dataset = self.data.part
        if issubclass(dataset, Dataset) and path in {f"data.{name}" for name in dataset.reading}:
            return True
        closed = self.fitted_prior is not None and cast(type[FittedPrior], self.fitted_prior.part).closed_form
        return closed and path.startswith("run.fit.") and path != "run.fit.draws"

    def _hears_records(self) -> str:
        """The name of a schedule that follows what is recorded, every `run.log_every` steps; empty if there is none."""
        parts = [config.schedule.part for config in self.optimiser.values() if config.schedule is not None]
        hearing = (p for p in parts if issubclass(p, Schedule) and p.recorded is not Schedule.recorded)
        return next((part.name for part in hearing), "")


def _upgraded_by(part: type[Part], table: Mapping[str, Any]) -> Mapping[str, Any]:
    """The row after `Part.upgrade` of one part; the row as it was if that fails, because most rows do not need it."""
    try:
        upgraded = part.upgrade(table)
    except Exception:  # a plugin's mistake in one part must not stop the recipes that do not use it
        return table
    return upgraded if isinstance(upgraded, Mapping) else table


def upgraded(table: Mapping[str, Any], registry: Registry, folder: Path | None = None) -> dict[str, Any]:
    """A resolved plan as this version would write it; unchanged if parts of it are not installed.

    Args:
        table: the plan, as written by the version that resolved it.
        registry: the registry of its parts.
        folder: where its relative paths begin; the current directory by default.
    """
    try:
        plan = Plan.model_validate(table, context={"registry": registry, "folder": folder})
    except ValidationError:
        return _without_foreign(table, registry)
    # A setting that the table does not have stays absent.
    return plan.model_dump(mode="json", exclude_none=True, exclude_unset=True)


def _without_foreign(table: Mapping[str, Any], registry: Registry) -> dict[str, Any]:
    """A row without the settings of other optimisers and schedules than the chosen ones; see `without_foreign`."""
    optimiser = table.get("optimiser")
    if not isinstance(optimiser, Mapping):
        return dict(table)
    return {**table, "optimiser": {module: without_foreign(own, registry) for module, own in optimiser.items()}}


def _under(path: str, other: str) -> bool:
    """Whether both paths are in the same table."""
    return path.rpartition(".")[0] == other.rpartition(".")[0]


def _training_part(table: dict[str, Any], also: tuple[str, ...] = ()) -> dict[str, Any]:
    model = table.get("model")
    also = (*also, "fit") if isinstance(model, Mapping) and model.get("fitted_prior") else also
    run = {k: v for k, v in table.get("run", {}).items() if k in _OF_TRAINING or k in also}
    return {key: table.get(key, {}) for key in ("data", "model", "optimiser")} | {"run": run}


def _leaves(value: Any, path: str = "") -> dict[str, Any]:
    if isinstance(value, dict) and value:
        return {
            key: leaf
            for name, each in value.items()
            for key, leaf in _leaves(each, f"{path}.{name}" if path else name).items()
        }
    return {path: value}
