"""A hook that raises: the error names hook, plugin and step, what is trained is kept, or the run goes on."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

import genprior
from genprior import GenpriorWarning, Hook, PartFailed, hookimpl
from genprior.recipe.plan import Plan
from genprior.registry import Origin, Registry, load
from genprior.runs.folder import RunFolder
from genprior.runs.trainer import Trainer

FAILS: dict[str, Callable[[int], None]] = {}
"""What the tracker does when it is called, by method, at a step."""


class Tracker(Hook):
    """A tracker whose server may be down."""

    name = "tracker"

    def started(self, run):
        FAILS.get("started", lambda step: None)(run.step)

    def step_done(self, run, step, metrics):
        FAILS.get("step_done", lambda step: None)(step)

    def finished(self, run, scores):
        FAILS.get("finished", lambda step: None)(run.step)

    def failed(self, run, error):
        FAILS.get("failed", lambda step: None)(run.step)


HEARD: list[tuple[str, int]] = []
"""The events that the hook after the tracker was told of."""


class Witness(Hook):
    """A hook that comes after the tracker."""

    name = "witness"

    def step_done(self, run, step, metrics):
        HEARD.append(("step_done", step))
        FAILS.get("witness", lambda step: None)(step)

    def epoch_done(self, run, epoch):
        HEARD.append(("epoch_done", run.step))

    def sampled(self, run, step, images):
        HEARD.append(("sampled", step))

    def checkpoint_written(self, run, path):
        HEARD.append(("checkpoint_written", run.step))

    def finished(self, run, scores):
        HEARD.append(("finished", run.step))


class Silent(Hook):
    """A hook that hears of nothing."""

    name = "silent"


class Functions:
    """The hook functions of another tracker."""

    @hookimpl
    def genprior_parts(self, register):
        register(Tracker)
        register(Silent)
        register(Witness)

    @hookimpl
    def genprior_run_started(self, trainer):
        FAILS.get("genprior_run_started", lambda step: None)(trainer.step)

    @hookimpl
    def genprior_step_done(self, step):
        FAILS.get("genprior_step_done", lambda step: None)(step)

    @hookimpl
    def genprior_run_finished(self, trainer):
        FAILS.get("genprior_run_finished", lambda step: None)(trainer.step)


def down_at(number: int) -> Callable[[int], None]:
    def fail(step: int) -> None:
        if step == number:
            raise ConnectionError("the tracker\nis down")

    return fail


def down(step: int) -> None:
    raise ConnectionError("the tracker is down")


def leave(step: int) -> None:
    raise SystemExit(3)


LAST = inspect.getsourcelines(down)[1] + 1


@pytest.fixture
def registry(no_curves) -> Registry:
    FAILS.clear()
    HEARD.clear()
    made = load()
    made.add(Functions(), Origin("mine", "genprior-mine 1.2"))
    return made


def plan_of(tiny: Path, registry: Registry, *settings: str) -> Plan:
    settings = ("run.hooks.tracker.enabled=true", *settings)
    return genprior.load_recipe(tiny, rows=["AAE"], settings=settings, registry=registry).plans[0]


@pytest.mark.parametrize(
    ("method", "named"),
    [("step_done", "hook 'tracker'"), ("genprior_step_done", "the hook function genprior_step_done")],
)
def test_the_error_names_hook_plugin_and_step_and_the_step_is_kept(tiny, registry, tmp_path, method, named):
    plan = plan_of(tiny, registry)
    FAILS[method] = down_at(4)
    with pytest.raises(PartFailed) as caught:
        Trainer(plan, 0, tmp_path, registry=registry).run()
    text = str(caught.value)
    assert text.startswith(
        f"row 'AAE': {named} of plugin 'mine' (genprior-mine 1.2) failed after step 4: ConnectionError: "
        f"the tracker is down, at {__file__}:"
    )
    assert "\n" not in text and caught.value.exit_code == 1
    assert ". The same command resumes after the last checkpoint" in text
    assert ('with [run.hooks.tracker] on_error = "warn" the run goes on' in text) == (method == "step_done")
    assert isinstance(caught.value.__cause__, ConnectionError)
    kept = RunFolder(tmp_path, registry)
    assert kept.newest_checkpoint is not None and "00000004" in kept.newest_checkpoint.name
    FAILS.clear()
    Trainer(plan, 0, tmp_path, registry=registry).run()
    assert genprior.load_run(tmp_path).finished


def test_a_run_that_a_hook_ended_resumes_to_the_same_weights(tiny, registry, tmp_path):
    plan = plan_of(tiny, registry)
    FAILS["step_done"] = down_at(4)
    with pytest.raises(PartFailed):
        Trainer(plan, 0, tmp_path / "twice", registry=registry).run()
    FAILS.clear()
    for folder in ("twice", "once"):
        Trainer(plan, 0, tmp_path / folder, registry=registry).run()
    twice, once = (genprior.load_run(tmp_path / folder).model.state_dict() for folder in ("twice", "once"))
    assert twice.keys() == once.keys() and all((twice[key] == once[key]).all() for key in once)


@pytest.mark.parametrize("method", ["step_done", "genprior_step_done"])
def test_the_other_hooks_hear_of_the_last_step_and_the_run_ends_when_it_resumes(tiny, registry, tmp_path, method):
    plan = plan_of(tiny, registry, "run.hooks.witness={}")
    last = plan.run.steps
    Trainer(plan, 0, tmp_path / "once", registry=registry).run()
    whole = list(HEARD)
    HEARD.clear()
    FAILS[method] = down_at(last)
    with pytest.raises(PartFailed, match=rf"of plugin 'mine' .* failed after step {last}: ConnectionError"):
        Trainer(plan, 0, tmp_path / "twice", registry=registry).run()
    assert HEARD == whole[:-1] and ("sampled", last) in HEARD and ("checkpoint_written", last) in HEARD
    FAILS.clear()
    Trainer(plan, 0, tmp_path / "twice", registry=registry).run()
    assert HEARD == whole
    once, twice = (genprior.load_run(tmp_path / folder) for folder in ("once", "twice"))
    assert twice.finished and [line["step"] for line in twice.metrics] == [line["step"] for line in once.metrics]
    assert "hook_failures" not in twice.facts
    before, after = once.model.state_dict(), twice.model.state_dict()
    assert before.keys() == after.keys() and all((before[key] == after[key]).all() for key in before)


def test_of_two_hooks_that_fail_in_one_step_the_first_is_the_error(tiny, registry, tmp_path):
    FAILS.update(step_done=down_at(3), witness=down_at(3))
    plan = plan_of(tiny, registry, "run.hooks.witness={}")
    with pytest.warns(GenpriorWarning) as caught, pytest.raises(PartFailed, match=r"hook 'tracker' .* after step 3"):
        Trainer(plan, 0, tmp_path, registry=registry).run()
    (text,) = {str(each.message) for each in caught}
    assert "hook 'witness' of plugin 'mine'" in text and text.endswith("; the run has ended anyway")


@pytest.mark.parametrize(
    ("method", "when"),
    [
        ("started", "at the start of the run, after step 0"),
        ("genprior_run_started", "at the start of the run, after step 0"),
        ("finished", "after the run was scored"),
        ("genprior_run_finished", "after the run was scored"),
    ],
)
def test_a_hook_that_fails_at_an_end_of_the_run(tiny, registry, tmp_path, method, when):
    FAILS[method] = down
    with pytest.raises(PartFailed) as caught:
        Trainer(plan_of(tiny, registry), 0, tmp_path, registry=registry).run()
    told = f" of plugin 'mine' (genprior-mine 1.2) failed {when}: ConnectionError: the tracker is down, at "
    assert f"{told}{__file__}:{LAST}" in str(caught.value)
    assert not genprior.load_run(tmp_path).finished


def test_a_hook_that_calls_sys_exit_is_a_failure(tiny, registry, tmp_path):
    FAILS["step_done"] = leave
    with pytest.raises(PartFailed, match=r"hook 'tracker' of plugin 'mine' .* after step 1: it called sys.exit\(3\)"):
        Trainer(plan_of(tiny, registry), 0, tmp_path, registry=registry).run()


def test_on_error_warn_goes_on_and_warns_once(tiny, registry, tmp_path):
    plan = plan_of(tiny, registry, 'run.hooks.tracker.on_error="warn"')
    FAILS["step_done"] = down
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        Trainer(plan, 0, tmp_path, registry=registry).run()
    assert [str(each.message) for each in caught] == [
        "row 'AAE': hook 'tracker' of plugin 'mine' (genprior-mine 1.2) failed after step 1: ConnectionError: the "
        f"tracker is down, at {__file__}:{LAST}; the run goes on"
    ]
    assert all(each.category is GenpriorWarning for each in caught)
    assert genprior.load_run(tmp_path).finished


def test_failures_that_do_not_end_a_run_are_counted_in_run_json_and_shown(tiny, registry, tmp_path, call):
    plan = plan_of(tiny, registry, 'run.hooks.tracker.on_error="warn"', "run.seeds=[0, 1]", "run.hooks.silent={}")
    FAILS.update(step_done=down, finished=down)
    for seed in plan.run.seeds:
        with pytest.warns(GenpriorWarning, match=f"row 'AAE', seed {seed}: hook 'tracker' .* failed after step 1: "):
            Trainer(plan, seed, tmp_path / str(seed), registry=registry).run(until=3)
        with pytest.warns(GenpriorWarning, match=f"row 'AAE', seed {seed}: hook 'tracker' .* failed after step 4: "):
            Trainer(plan, seed, tmp_path / str(seed), registry=registry).run()
        run = genprior.load_run(tmp_path / str(seed))
        # Each of the 6 steps and the end, also of the part before the run was resumed.
        assert run.finished and run.facts["hook_failures"] == {"tracker": 7}
    assert "hook failures" in (shown := call("show", tmp_path / "0").stdout) and "tracker 7" in shown
    FAILS.clear()
    Trainer(plan, 0, tmp_path / "none", registry=registry).run()
    assert "hook_failures" not in genprior.load_run(tmp_path / "none").facts


def test_a_hook_that_fails_as_the_run_ends_does_not_say_that_it_goes_on(tiny, registry, tmp_path):
    FAILS.update(failed=down, genprior_step_done=down_at(2))
    with pytest.raises(PartFailed), pytest.warns(GenpriorWarning) as caught:
        Trainer(plan_of(tiny, registry), 0, tmp_path, registry=registry).run()
    (text,) = {str(each.message) for each in caught}
    assert text.startswith(
        "row 'AAE': hook 'tracker' of plugin 'mine' (genprior-mine 1.2) failed as the run ended after "
    )
    assert text.endswith("; the run has ended anyway")


def test_on_error_of_another_value(tiny, registry):
    with pytest.raises(genprior.RecipeError, match=r"run.hooks.tracker.on_error.*: input should be 'stop' or 'warn'"):
        plan_of(tiny, registry, 'run.hooks.tracker.on_error="ignore"')


def test_a_run_goes_on_without_its_pictures(tiny, registry, tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("genprior_std.hooks.pictures.draw_curves", full)
    plan = plan_of(tiny, registry)
    with pytest.raises(PartFailed, match=r"hook 'pictures' of plugin 'std' .*: OSError: \[Errno 28\] No space left"):
        Trainer(plan, 0, tmp_path / "stop", registry=registry).run()
    settings = ["run.hooks.pictures={on_error='warn'}"]
    with pytest.warns(UserWarning, match=r"hook 'pictures' of plugin 'std' .* No space left on device, at .*; the run"):
        Trainer(plan_of(tiny, registry, *settings), 0, tmp_path / "warn", registry=registry).run()
    assert genprior.load_run(tmp_path / "warn").finished
