"""Calls the hooks of a run: first those of its recipe, then the hook functions of plugins."""

from __future__ import annotations

from collections.abc import Mapping

from genprior.parts import TrainingRun
from genprior.recipe.plan import Plan
from genprior.registry import Registry

__all__ = ["Listeners"]


class Listeners:
    """All hooks of one run."""

    def __init__(self, plan: Plan, registry: Registry) -> None:
        """Create the hooks of a recipe.

        Args:
            plan: the recipe; hooks that are on by default have their default settings if it does not name them.
            registry: the registry whose hook functions are called.

        Raises:
            PlanError: a hook lacks a package or a setting that it needs.
        """
        settings = {**registry.hooks_by_default(), **plan.run.hooks}
        self._hooks = [config.make() for config in settings.values() if config.enabled]
        self._functions = registry.manager.hook

    def started(self, run: TrainingRun) -> None:
        """Call when the run starts or resumes."""
        for hook in self._hooks:
            hook.started(run)
        self._functions.genprior_run_started(trainer=run)

    def step_done(self, run: TrainingRun, step: int, metrics: Mapping[str, float] | None) -> None:
        """Call after `step` steps; `metrics` is the new record, or None."""
        for hook in self._hooks:
            hook.step_done(run, step, metrics)
        self._functions.genprior_step_done(trainer=run, step=step, metrics=metrics)

    def finished(self, run: TrainingRun, scores: Mapping[str, float]) -> None:
        """Call when the run is trained and scored."""
        for hook in self._hooks:
            hook.finished(run, scores)
        self._functions.genprior_run_finished(trainer=run, scores=scores)
