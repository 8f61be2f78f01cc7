"""Calls the hooks of a run: first those of its recipe, then the hook functions of plugins."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Callable, Mapping

from genprior.errors import PartFailed
from genprior.loading import what_was_raised
from genprior.parts import Hook, TrainingRun
from genprior.recipe.plan import Plan
from genprior.registry import Registry
from genprior.runs.part_errors import place_of

__all__ = ["Listeners"]


class Listeners:
    """All hooks of one run.

    What a hook raises is a `PartFailed`, which names the hook, its plugin and the step; or a warning, if the hook's
    setting `on_error` is "warn".
    """

    def __init__(self, plan: Plan, registry: Registry) -> None:
        """Create the hooks of a recipe.

        Args:
            plan: the recipe; hooks that are on by default have their default settings if it does not name them.
            registry: the registry whose hook functions are called.

        Raises:
            PlanError: a hook lacks a package or a setting that it needs.
        """
        settings = {**registry.hooks_by_default(), **plan.run.hooks}
        self._hooks: list[Hook] = [config.make() for config in settings.values() if config.enabled]
        self._functions = registry.manager.hook
        self._registry = registry
        self._row = plan.label
        self._warned: set[str] = set()

    def started(self, run: TrainingRun) -> None:
        """Call when the run starts or resumes."""
        when = f"at the start of the run, after step {run.step}"
        for hook in self._hooks:
            self._call(hook, lambda hook=hook: hook.started(run), when)  # type: ignore[misc]
        self._call_functions("genprior_run_started", lambda: self._functions.genprior_run_started(trainer=run), when)

    def step_done(self, run: TrainingRun, step: int, metrics: Mapping[str, float] | None) -> None:
        """Call after `step` steps; `metrics` is the new record, or None."""
        when = f"after step {step}"
        for hook in self._hooks:
            self._call(hook, lambda hook=hook: hook.step_done(run, step, metrics), when)  # type: ignore[misc]
        self._call_functions(
            "genprior_step_done",
            lambda: self._functions.genprior_step_done(trainer=run, step=step, metrics=metrics),
            when,
        )

    def finished(self, run: TrainingRun, scores: Mapping[str, float]) -> None:
        """Call when the run is trained and scored."""
        when = "after the run was scored"
        for hook in self._hooks:
            self._call(hook, lambda hook=hook: hook.finished(run, scores), when)  # type: ignore[misc]
        self._call_functions(
            "genprior_run_finished", lambda: self._functions.genprior_run_finished(trainer=run, scores=scores), when
        )

    def _call(self, hook: Hook, call: Callable[[], None], when: str) -> None:
        """Call a hook.

        Raises:
            PartFailed: it raised an exception, and its setting `on_error` is "stop".
        """
        try:
            call()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a hook may raise anything, also what sys.exit() raises
            part = type(hook)
            source = str(self._registry.origin(part)) if self._registry.offers(part) else part.__module__
            place = place_of(error, part.__module__)
            failed = f"{what_was_raised(error)}, at {place}"
            told = f"row '{self._row}': hook '{hook.name}' of {source} failed {when}: {failed}"
            if hook.config.on_error == "stop":
                raise PartFailed(
                    f"{told}. The same command resumes after the last checkpoint; "
                    f'with [run.hooks.{hook.name}] on_error = "warn" the run goes on'
                ) from error
            if failed not in self._warned:
                self._warned.add(failed)
                warnings.warn(f"{told}; the run goes on", stacklevel=1)

    def _call_functions(self, name: str, call: Callable[[], object], when: str) -> None:
        """Call the hook functions of plugins.

        Raises:
            PartFailed: one of them raised an exception; the others were not called.
        """
        try:
            call()
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            codes = [frame.f_code for frame, _ in traceback.walk_tb(error.__traceback__)]
            callers = getattr(self._functions, name).get_hookimpls()
            source, module = "a plugin", ""
            for each in callers:
                if each.function.__code__ in codes:
                    source, module = each.plugin_name, each.function.__module__
            raise PartFailed(
                f"row '{self._row}': the hook function {name} of {source} failed {when}: {what_was_raised(error)}, at "
                f"{place_of(error, module)}. The same command resumes after the last checkpoint"
            ) from error
