"""Adds a row for an installed prior to a recipe, based on a row whose model takes it."""

from __future__ import annotations

import dataclasses
import tomllib
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from genprior.errors import GenpriorWarning, NameTaken, PlanError, PluginError, RecipeError, did_you_mean, listed
from genprior.launch.preflight import preflight
from genprior.parts import FittedPrior, PartConfig
from genprior.recipe.load import Recipe
from genprior.recipe.plan import Plan
from genprior.recipe.structure import folded, wrong_label
from genprior.registry import installed
from genprior.runs.part_settings import configured

__all__ = ["with_priors"]

EXAMPLE = "ring or 'ring={radius=2.0}'"


class _Way(NamedTuple):
    """A prior in a role of a model: the row to add."""

    label: str
    role: str
    config: PartConfig


def with_priors(
    recipe: Recipe,
    named: Sequence[str],
    *,
    bases: Recipe | None = None,
    like: str | None = None,
    device: str = "auto",
) -> Recipe:
    """The recipe with a row for each of the named priors.

    The row is a copy of another one with the prior in place of its own. A `FittedPrior` is added as `fitted_prior`, any
    other as `prior`, and one that can be both in two rows, `NAME` and `NAME fitted`. By default the other row is the
    first whose model takes the prior and trains all of its parameters, found by one step of each; for a fitted prior
    rows that have one are tried first.

    Args:
        recipe: the rows so far.
        named: names of installed priors, each perhaps with settings: `ring`, `ring={radius=2.0}` or `ring.radius=2.0`.
        bases: the rows that may be copied; by default those of the recipe.
        like: the label of the row to copy.
        device: computes the steps.

    Raises:
        RecipeError: a text names no prior, settings are wrong, the label is there already, or no row takes the prior;
            the message lists what each row says.
    """
    bases = bases or recipe
    tried = bases.plans if like is None else (_row(bases, like),)
    for text in named:
        ways = _ways(text)
        refused: dict[str, list[str]] = {}
        added = []
        for way in ways:
            labels = [*recipe.order, *(plan.label for plan in recipe.plans)]
            if wrong := _wrong_label(way, labels, text):
                raise RecipeError(wrong)
            plan = _based(way, tried, bases, device, refused)
            added += [plan] if plan is not None else []
        if not added:
            raise _no_base(text, ways, refused, like, bases)
        recipe = dataclasses.replace(
            recipe, plans=(*recipe.plans, *added), order=(*recipe.order, *(plan.label for plan in added))
        )
    return recipe


def _ways(text: str) -> list[_Way]:
    """The rows that a text of `--add` means.

    Raises:
        RecipeError: it names no installed prior, or its settings are wrong.
    """
    name, settings = _parsed(text)
    registry = installed()
    try:
        part = registry.find("prior", name)
    except (NameTaken, PluginError) as error:
        raise RecipeError(f"--add {text}: {error}") from error
    try:
        config = configured(part, settings)
    except PlanError as error:
        raise RecipeError(f"--add {text}: {error}") from error
    label = " ".join([name, *(f"{key}={_short(value)}" for key, value in settings.items())])
    if not issubclass(part, FittedPrior):
        return [_Way(label, "prior", config)]
    if not part.joint:
        return [_Way(label, "fitted_prior", config)]
    return [_Way(label, "prior", config), _Way(f"{label} fitted", "fitted_prior", config)]


def _parsed(text: str) -> tuple[str, dict[str, Any]]:
    name, equals, _ = text.partition("=")
    if not equals:
        return text.strip(), {}
    try:
        table = tomllib.loads(text)
        ((name, settings),) = table.items()
        if not isinstance(settings, dict):
            raise ValueError
    except (ValueError, RecursionError):
        raise RecipeError(
            f"--add {text}: needs NAME or NAME={{SETTING=VALUE, ...}} with TOML values, such as {EXAMPLE} (strings "
            "need double quotes, so put single quotes around the whole)"
        ) from None
    return name, {key: value for key, value in settings.items() if not (key == "name" and value == name)}


def _short(value: Any) -> str:
    """A setting's value for a label, which names a folder."""
    text = "true" if value is True else "false" if value is False else str(value)
    return text.replace("/", "-").replace("\\", "-")


def _row(bases: Recipe, label: str) -> Plan:
    try:
        return bases.row(label)
    except RecipeError as error:
        raise RecipeError(f"--like {label}: {error}") from error


def _wrong_label(way: _Way, labels: Sequence[str], text: str) -> str | None:
    """What is wrong with the label of the row to add; None if nothing is."""
    label, name = way.label, way.config.name
    if label in labels:
        return (
            f"--add {text}: the recipe has a row '{label}' already, which is ranked without --add. To rank the prior "
            f"with other settings, name them, as in --add '{name}={{...}}'"
        )
    wrong = wrong_label(label, {folded(each): each for each in labels})
    return None if wrong is None else f"--add {text}: {wrong}"


def _based(way: _Way, tried: Sequence[Plan], bases: Recipe, device: str, refused: dict[str, list[str]]) -> Plan | None:
    """The row to add, based on the first row that takes the prior; None if none does, and `refused` says why."""
    seen: dict[str, str] = {}
    for base in _in_order(way, tried):
        if way.role not in type(base.model).model_fields:
            refused.setdefault(f"model '{base.model.name}' has no {way.role}", []).append(base.label)
            continue
        plan = _replaced(base, way)
        settings = "\n".join(plan.differences({}))
        if settings not in seen:  # rows that differ only in their priors are tried once
            seen[settings] = _refusal(plan, way, bases, device)
        if not seen[settings]:
            return plan
        refused.setdefault(seen[settings], []).append(base.label)
    return None


def _in_order(way: _Way, tried: Sequence[Plan]) -> list[Plan]:
    """The rows to try: those with a fitted prior first for one, and not at all for a prior of the training."""
    fitted = [plan for plan in tried if plan.fitted_prior is not None]
    others = [plan for plan in tried if plan.fitted_prior is None]
    return [*fitted, *others] if way.role == "fitted_prior" else others


def _replaced(base: Plan, way: _Way) -> Plan:
    model = base.model.model_copy(update={way.role: way.config})
    return base.model_copy(update={"label": way.label, "model": model})


def _refusal(plan: Plan, way: _Way, bases: Recipe, device: str) -> str:
    """Why a row cannot be trained, or its prior is not trained; empty if it can."""
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", GenpriorWarning)
            preflight(dataclasses.replace(bases, plans=(plan,)), device)
    except RecipeError as error:
        lines = str(error).splitlines()[1:]
        return " ".join(line.strip() for line in lines).replace(f" [row {plan.label}]", "")
    start = f"row {plan.label}: "
    texts = [str(each.message).removeprefix(start) for each in caught if issubclass(each.category, GenpriorWarning)]
    return next((text for text in texts if text.startswith(f"prior '{way.config.name}' ")), "")


def _no_base(
    text: str, ways: Sequence[_Way], refused: Mapping[str, Sequence[str]], like: str | None, bases: Recipe
) -> RecipeError:
    """The error that no row takes a prior, with what each says."""
    lines = "".join(f"\n  row {listed(dict.fromkeys(labels))}: {why}" for why, labels in refused.items())
    roles = " or ".join(dict.fromkeys(way.role for way in ways))
    if like is not None:
        others = [plan.label for plan in bases.plans if plan.label != like]
        advice = f"Name another row{did_you_mean('', others)}" if others else "Name another recipe"
        return RecipeError(f"--add {text}: row '{like}' does not take it as {roles}.{lines}\n{advice}")
    return RecipeError(
        f"--add {text}: no row of the recipe '{bases.name}' takes it as {roles}.{lines or ' It has no such row.'}\n"
        "Add a row whose model takes it, or change its settings"
    )
