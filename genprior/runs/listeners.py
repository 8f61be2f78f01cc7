"""Calls the hooks of a run: first those of its recipe, then the hook functions of plugins."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from genprior.errors import GenpriorError, GenpriorWarning, PartFailed, PlanError, did_you_mean
from genprior.loading import what_was_raised
from genprior.parts import Hook, TrainingRun
from genprior.parts.hooks import DEFAULT_SAMPLES
from genprior.recipe.plan import Plan
from genprior.registry import Registry
from genprior.runs.part_errors import culprit_of, place_of

__all__ = ["Listeners"]

FUNCTIONS: dict[str, tuple[str, ...]] = {
    "started": ("genprior_run_started",),
    "step_done": ("genprior_step_done", "step", "metrics"),
    "epoch_done": ("genprior_epoch_done", "epoch"),
    "sampled": ("genprior_sampled", "step", "images"),
    "checkpoint_written": ("genprior_checkpoint_written", "path"),
    "evaluated": ("genprior_evaluated", "scores"),
    "finished": ("genprior_run_finished", "scores"),
    "interrupted": ("genprior_run_interrupted",),
    "failed": ("genprior_run_failed", "error"),
}
"""The hook function of each method of `Hook`, and the names of its arguments after the run."""

RESUMES = ". The same command resumes after the last checkpoint"
ENDS = "the run has ended anyway"


class _Listener(NamedTuple):
    """A hook's method, or the hook function of a plugin."""

    call: Callable[..., object]
    name: str
    named: str
    module: str
    part: type[Hook] | None
    stops: bool
    """Whether an exception ends the run."""
    remedy: str
    """How the run goes on without it."""
    samples: int
    goes_on: str = "the run goes on"
    """The end of the warning that it failed."""


class Listeners:
    """All hooks of one run.

    What a hook raises is a `PartFailed`, which names the hook, its plugin and the step; or a warning, if the hook's
    setting `on_error` is "warn". It is raised after the other hooks were called, because a run that resumes does not
    repeat the events before its checkpoint: one that fails must not hide them from the others. Only methods that a hook
    overrides are called.
    """

    def __init__(self, plan: Plan, registry: Registry, *, rehearsal: bool = False, silent: bool = False) -> None:
        """Create the hooks of a recipe.

        Args:
            plan: the recipe; hooks that are on by default have their default settings if it does not name them.
            registry: the registry whose hook functions are called.
            rehearsal: whether only hooks are called that state `rehearsed`, and no hook functions.
            silent: whether none is called, as in a process beside the first one of a training.

        Raises:
            PlanError: a hook lacks a package or a setting that it needs, or `run.skip_hook_functions` names no plugin.
        """
        settings = {**registry.hooks_by_default(), **plan.run.hooks}
        hooks: list[Hook] = [config.make() for config in settings.values() if config.enabled]
        self._registry = registry
        self._row, self._several = plan.label, len(plan.run.seeds) > 1
        self.failures: dict[str, int] = {}
        """How often each hook failed without ending the run, by its name."""
        self._rehearsal = rehearsal
        self._warned: set[str] = set()
        self._ending: list[PartFailed] | None = None  # in `all_told`: none, or the error that it raises
        skipped = _skipped(plan, registry)
        self._listening = {
            event: []
            if silent
            else [
                *(
                    self._method(hook, event)
                    for hook in hooks
                    if getattr(type(hook), event) is not getattr(Hook, event) and (hook.rehearsed or not rehearsal)
                ),
                *([] if rehearsal else self._functions(event, skipped)),
            ]
            for event in FUNCTIONS
        }
        self._of_steps = bool(self._listening["step_done"])

    @contextlib.contextmanager
    def all_told(self) -> Iterator[None]:
        """Call all hooks of all events in the `with` block before the first of their exceptions is raised.

        Raises:
            PartFailed: a hook raised an exception; those of later hooks are warnings.
        """
        if self._ending is not None:  # an outer block raises it
            yield
            return
        ending: list[PartFailed] = []
        self._ending = ending
        try:
            yield
        finally:
            self._ending = None
        if ending:
            raise ending[0]

    def _method(self, hook: Hook, event: str) -> _Listener:
        part = type(hook)
        source = str(self._registry.origin(part)) if self._registry.offers(part) else part.__module__
        return _Listener(
            getattr(hook, event),
            hook.name,
            f"hook '{hook.name}' of {source}",
            part.__module__,
            part,
            hook.config.on_error == "stop",
            f". Mend it, or switch it off: [run.hooks.{hook.name}] enabled = false"
            if self._rehearsal
            else f'{RESUMES}; with [run.hooks.{hook.name}] on_error = "warn" the run goes on',
            hook.samples if event == "sampled" else 0,
        )

    def _functions(self, event: str, skipped: set[str]) -> list[_Listener]:
        """The functions of all plugins that are not skipped, in the order in which pluggy calls them."""
        name, *arguments = FUNCTIONS[event]
        manager = self._registry.manager
        functions = []
        for each in reversed(getattr(manager.hook, name).get_hookimpls()):
            if each.plugin_name in skipped:
                continue
            others = [plugin for plugin in manager.get_plugins() if plugin is not each.plugin]
            caller = manager.subset_hook_caller(name, others)

            def call(run: TrainingRun, *values: Any, caller: Any = caller) -> None:
                caller(trainer=run, **dict(zip(arguments, values, strict=True)))

            plugin = next((o.plugin for o in self._registry.plugins if str(o) == each.plugin_name), each.plugin_name)
            functions.append(
                _Listener(
                    call,
                    name,
                    f"the hook function {name} of {each.plugin_name}",
                    each.function.__module__ or "",
                    None,
                    True,
                    f"{RESUMES}; with [run] skip_hook_functions = ['{plugin}'] the run goes on without the plugin's",
                    DEFAULT_SAMPLES,
                )
            )
        return functions

    def facts(self) -> dict[str, Any]:
        """The failures that did not end the run, for `run.json` and checkpoints; empty without any."""
        return {"hook_failures": dict(self.failures)} if self.failures else {}

    def restore(self, facts: Mapping[str, Any]) -> None:
        """Count on from the failures of a checkpoint's facts."""
        self.failures = dict(facts.get("hook_failures", {}))

    def started(self, run: TrainingRun) -> None:
        """Call when the run starts or resumes."""
        self._tell("started", f"at the start of the run, after step {run.step}", run)

    def step_done(self, run: TrainingRun, step: int, metrics: Mapping[str, float] | None) -> None:
        """Call after `step` steps; `metrics` is the new record, or None."""
        if self._of_steps:
            self._tell("step_done", f"after step {step}", run, step, metrics)

    def epoch_done(self, run: TrainingRun, epoch: int) -> None:
        """Call after `epoch` epochs."""
        self._tell("epoch_done", f"after epoch {epoch}", run, epoch)

    def sampled(self, run: TrainingRun, step: int) -> None:
        """Call every `run.sample_every` steps; images are drawn once, if a hook wants some and the model makes any."""
        listening = self._listening["sampled"]
        if not listening or not run.model.makes_images:
            return
        most = max(each.samples for each in listening)
        drawn: list[Tensor] = []
        with self.all_told():
            for each in listening:
                # Drawn inside of the call, so that a hook that may fail does not end the run if drawing fails.
                def call(run: TrainingRun, step: int, each: _Listener = each) -> None:
                    if not drawn:
                        drawn.append(run.sample(most))
                    each.call(run, step, drawn[0][: each.samples])

                self._call(each, call, f"with the samples of step {step}", run, step)

    def checkpoint_written(self, run: TrainingRun, path: Path) -> None:
        """Call when the checkpoint `path` is complete."""
        self._tell("checkpoint_written", f"with the checkpoint of step {run.step}", run, path)

    def evaluated(self, run: TrainingRun, scores: Mapping[str, float]) -> None:
        """Call when scores are measured."""
        self._tell("evaluated", f"with the scores after step {run.step}", run, scores)

    def finished(self, run: TrainingRun, scores: Mapping[str, float]) -> None:
        """Call when the run is trained and scored."""
        self._tell("finished", "after the run was scored", run, scores)

    def ended(self, run: TrainingRun, error: BaseException, *, interrupted: bool) -> None:
        """Call when an error or the user ends the run early; what hooks raise is a warning, as the run ends anyway."""
        event, values = ("interrupted", ()) if interrupted else ("failed", (error,))
        for each in self._listening[event]:
            self._call(
                each._replace(stops=False, goes_on=ENDS),
                each.call,
                f"as the run ended after step {run.step}",
                run,
                *values,
            )

    def _tell(self, event: str, when: str, *values: Any) -> None:
        """Call all hooks that listen to an event.

        Raises:
            PartFailed: one of them raised an exception.
        """
        with self.all_told():
            for each in self._listening[event]:
                self._call(each, each.call, when, *values)

    def _call(self, listener: _Listener, call: Callable[..., object], when: str, *values: Any) -> None:
        """Call a hook; an exception that ends the run is kept for `all_told`."""
        try:
            call(*values)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a hook may raise anything, also what sys.exit() raises
            reason = self._reason(listener, error)
            row = f"row '{self._row}'" + (f", seed {values[0].seed}" if self._several else "")
            told = f"{row}: {listener.named} failed {when}: {reason}"
            if listener.stops and self._ending == []:
                self._ending.append(PartFailed(f"{told}{listener.remedy}"))
                self._ending[0].__cause__ = error
                return
            if not listener.stops:
                self.failures[listener.name] = self.failures.get(listener.name, 0) + 1
            goes_on = ENDS if listener.stops else listener.goes_on
            if reason not in self._warned:
                self._warned.add(reason)
                warnings.warn(GenpriorWarning(f"{told}; {goes_on}"), stacklevel=1)

    def _reason(self, listener: _Listener, error: BaseException) -> str:
        """What was raised and where; if another part raised it, such as a decoder that a hook samples, which one."""
        culprit = None if isinstance(error, GenpriorError) else culprit_of(error, self._registry)
        if culprit is not None and culprit.part not in (None, listener.part):
            return culprit.text
        return f"{what_was_raised(error)}, at {place_of(error, listener.module)}"


def _skipped(plan: Plan, registry: Registry) -> set[str]:
    """The plugins, as pluggy names them, whose hook functions a recipe skips.

    Raises:
        PlanError: one of them is not installed.
    """
    names = [origin.plugin for origin in registry.plugins]
    for name in plan.run.skip_hook_functions:
        if name not in names:
            raise PlanError(f"run.skip_hook_functions: there is no plugin '{name}'{did_you_mean(name, names)}")
    return {str(origin) for origin in registry.plugins if origin.plugin in plan.run.skip_hook_functions}
