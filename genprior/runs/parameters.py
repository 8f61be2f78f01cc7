"""Counts the parameters of the models of rows."""

from __future__ import annotations

from collections.abc import Iterable

from genprior.data.images import as_trained
from genprior.engine.build import build_model
from genprior.parts import DataInfo
from genprior.recipe.plan import Plan

__all__ = ["parameters_of"]


def parameters_of(plans: Iterable[Plan]) -> dict[str, dict[str, int]]:
    """The number of parameters of each module that has any, by the label of the row."""
    infos: dict[str, DataInfo] = {}
    counts: dict[str, dict[str, int]] = {}
    for plan in plans:
        key = f"{plan.run.labels} of {plan.data.model_dump_json()}"
        if key not in infos:
            infos[key] = as_trained(plan.data.make(), plan.run.labels)
        model = build_model(plan.model, infos[key], plan.run.seeds[0])
        modules = {name: sum(p.numel() for p in each.parameters()) for name, each in model.named_children()}
        counts[plan.label] = {name: count for name, count in modules.items() if count}
    return counts
