"""Every event of a run reaches hooks and hook functions in order; those that nobody overrides cost nothing."""

from __future__ import annotations

import math
import tomllib
import warnings

import pytest
import torch

import genprior
from genprior import Hook, HookConfig, Interrupted, NotFinite, PartFailed, PlanError, RecipeError, hookimpl
from genprior.hookspecs import __all__ as FUNCTIONS
from genprior.launch.preflight import preflight
from genprior.parts.hooks import DEFAULT_SAMPLES
from genprior.registry import Origin, Registry, installed, load
from genprior.runs import listeners
from genprior.runs.trainer import Trainer

HEARD: list[tuple] = []
FAILS: dict[str, Exception] = {}
SCORED = 'scores=[{name="parzen", samples=20}]'


def heard(event, *values):
    HEARD.append((event, *values))
    if event in FAILS:
        raise FAILS[event]


class Tracker(Hook):
    """Hears everything."""

    name = "tracker"

    class Config(HookConfig):
        """How many samples."""

        samples: int = 3
        """Samples."""

    def started(self, run):
        heard("started", run.step)

    def step_done(self, run, step, metrics):
        heard("step_done", step)

    def epoch_done(self, run, epoch):
        heard("epoch_done", epoch)

    def sampled(self, run, step, images):
        heard("sampled", step, images)

    def checkpoint_written(self, run, path):
        assert path.exists() and path.with_suffix(".json").exists()
        heard("checkpoint_written", path.name)

    def evaluated(self, run, scores):
        heard("evaluated", dict(scores))

    def finished(self, run, scores):
        heard("finished", dict(scores))

    def interrupted(self, run):
        heard("interrupted", run.step)

    def failed(self, run, error):
        heard("failed", str(error))


class Silent(Hook):
    """Overrides nothing."""

    name = "silent"


class Wide(Hook):
    """Wants more samples than the tracker."""

    name = "wide"

    def sampled(self, run, step, images):
        heard("wide sampled", step, images)


class Plugin:
    @hookimpl
    def genprior_parts(self, register):
        for part in (Tracker, Silent, Wide):
            register(part)


class Functions:
    """All hook functions; each may leave out arguments."""

    @hookimpl
    def genprior_run_started(self, trainer):
        heard("genprior_run_started")

    @hookimpl
    def genprior_step_done(self, trainer, step, metrics):
        heard("genprior_step_done")

    @hookimpl
    def genprior_epoch_done(self, epoch):
        heard("genprior_epoch_done")

    @hookimpl
    def genprior_sampled(self, images):
        heard("genprior_sampled")

    @hookimpl
    def genprior_checkpoint_written(self, path):
        heard("genprior_checkpoint_written")

    @hookimpl
    def genprior_evaluated(self, scores):
        heard("genprior_evaluated")

    @hookimpl
    def genprior_run_finished(self, trainer, scores):
        heard("genprior_run_finished")

    @hookimpl
    def genprior_run_interrupted(self, trainer):
        heard("genprior_run_interrupted")

    @hookimpl
    def genprior_run_failed(self, error):
        heard("genprior_run_failed")


@pytest.fixture
def registry(no_curves) -> Registry:
    HEARD.clear()
    FAILS.clear()
    made = load()
    made.add(Plugin(), Origin("tracking", "tests 1"))
    return made


def plan_of(tiny, registry, *settings, label="AAE", hook="tracker"):
    settings = (f"run.hooks.{hook}.enabled=true", "run.hooks.pictures.enabled=false", *settings)
    return genprior.load_recipe(tiny, rows=[label], settings=settings, registry=registry).plans[0]


def test_every_function_is_the_counterpart_of_a_method():
    methods = {name for name, value in vars(Hook).items() if callable(value) and not name.startswith("_")}
    assert listeners.FUNCTIONS.keys() == methods - {"Config"}
    of_no_run = {"hookimpl", "genprior_parts", "genprior_table_written"}
    assert {name for name, *_ in listeners.FUNCTIONS.values()} == set(FUNCTIONS) - of_no_run


def test_events_come_in_order(tiny, registry, tmp_path):
    """1,797 digits; 1,437 of them train. A batch of 700 makes an epoch of two steps."""
    plan = plan_of(tiny, registry, "run.batch=700", "run.sample_every=4", "run.keep.last=9")
    trainer = Trainer(plan, 0, tmp_path, registry=registry)
    trainer.run()
    assert trainer.data.batches_per_epoch == 2
    samples = {event[1]: event[2] for event in HEARD if event[0] == "sampled"}
    assert samples.keys() == {4, 6} and all(images.shape == (3, 1, 8, 8) for images in samples.values())
    assert torch.equal(samples[6], genprior.load_run(tmp_path, registry=registry).sample(3))
    assert [event[:2] for event in HEARD] == [
        ("started", 0),
        ("step_done", 1),
        ("step_done", 2),
        ("epoch_done", 1),
        ("step_done", 3),
        ("checkpoint_written", "step-00000003.safetensors"),
        ("step_done", 4),
        ("epoch_done", 2),
        ("sampled", 4),
        ("step_done", 5),
        ("step_done", 6),
        ("epoch_done", 3),
        ("sampled", 6),
        ("checkpoint_written", "step-00000006.safetensors"),
        ("finished", {}),
    ]


def test_functions_hear_the_same_after_the_hooks(tiny, registry, tmp_path):
    registry.add(Functions(), Origin("functions", "tests 2"))
    plan = plan_of(tiny, registry, "run.batch=1200", "run.steps=1", "data.validation=200", SCORED)
    Trainer(plan, 0, tmp_path, registry=registry).run()
    events = ["started", "step_done", "epoch_done", "sampled", "checkpoint_written", "evaluated", "finished"]
    pairs = [(event, listeners.FUNCTIONS[event][0]) for event in events]
    assert [event[0] for event in HEARD] == [each for pair in pairs for each in pair]
    scores = [event[1] for event in HEARD if event[0] in ("evaluated", "finished")]
    assert scores[0] == scores[1] and math.isfinite(scores[0]["parzen"])


def test_hooks_share_one_drawing(tiny, registry, tmp_path, monkeypatch):
    plan = plan_of(tiny, registry, "run.hooks.wide.enabled=true", "run.steps=1")
    trainer = Trainer(plan, 0, tmp_path, registry=registry)
    sampled, asked = trainer.sample, []
    monkeypatch.setattr(trainer, "sample", lambda n: asked.append(n) or sampled(n))
    trainer.run()
    assert asked == [DEFAULT_SAMPLES]
    images = {event: values[1] for event, *values in HEARD if "sampled" in event}
    assert len(images["wide sampled"]) == DEFAULT_SAMPLES and torch.equal(images["sampled"], images["wide sampled"][:3])


@pytest.mark.parametrize("hook", ["silent", "tracker"])
def test_a_hook_is_called_only_where_it_overrides(tiny, registry, tmp_path, hook, monkeypatch):
    drawn = []
    trainer = Trainer(plan_of(tiny, registry, "run.steps=1", hook=hook), 0, tmp_path, registry=registry)
    sampled = trainer.sample
    monkeypatch.setattr(trainer, "sample", lambda n: drawn.append(n) or sampled(n))
    monkeypatch.setattr(Silent, "__init__", Hook.__init__)
    trainer.run()
    assert bool(drawn) == (hook == "tracker")
    assert all(bool(events) == (hook == "tracker") for events in trainer._listeners._listening.values())


def test_an_interruption_and_a_failure_are_told(tiny, registry, tmp_path):
    plan = plan_of(tiny, registry)
    with pytest.raises(Interrupted):
        Trainer(plan, 0, tmp_path / "stopped", registry=registry, stop=lambda: True).run()
    assert HEARD[-2:] == [("checkpoint_written", "step-00000001.safetensors"), ("interrupted", 1)]
    diverging = plan_of(tiny, registry, "optimiser.default.lr=1e30")
    with pytest.raises(NotFinite) as caught:
        Trainer(diverging, 0, tmp_path / "failed", registry=registry).run()
    assert HEARD[-1] == ("failed", str(caught.value))


def test_the_error_that_a_failed_run_tells_names_the_part(tiny, registry, tmp_path, monkeypatch):
    from genprior_std.models.aae import AdversarialAutoencoder

    def broken(self, *_):
        raise ValueError("no codes")

    plan = plan_of(tiny, registry)
    monkeypatch.setattr(AdversarialAutoencoder, "regularise", broken)
    with pytest.raises(PartFailed):
        Trainer(plan, 0, tmp_path, registry=registry).run()
    assert HEARD[-1][0] == "failed"
    assert HEARD[-1][1].startswith("row 'AAE': model 'aae' of plugin 'std'") and "no codes" in HEARD[-1][1]


@pytest.mark.parametrize("event", ["failed", "interrupted"])
def test_a_hook_that_fails_at_an_early_end_is_a_warning_and_the_end_stays(tiny, registry, tmp_path, event):
    FAILS[event] = ConnectionError("offline")
    wrong = {"failed": ["optimiser.default.lr=1e30"], "interrupted": []}[event]
    plan, stop = plan_of(tiny, registry, *wrong), event == "interrupted"
    expected = {"failed": NotFinite, "interrupted": Interrupted}[event]
    with pytest.warns(UserWarning, match=r"hook 'tracker' .* failed as the run ended after .*: ConnectionError: off"):
        with pytest.raises(expected):
            Trainer(plan, 0, tmp_path, registry=registry, stop=lambda: stop).run()


@pytest.mark.parametrize(
    ("event", "when"),
    [
        ("epoch_done", "after epoch 1"),
        ("sampled", "with the samples of step 6"),
        ("checkpoint_written", "with the checkpoint of step 3"),
        ("evaluated", "with the scores after step 6"),
    ],
)
def test_a_hook_that_fails_says_when(tiny, registry, tmp_path, event, when):
    FAILS[event] = ConnectionError("offline")
    plan = plan_of(tiny, registry, "run.batch=700", "data.validation=200", SCORED)
    with pytest.raises(PartFailed) as caught:
        Trainer(plan, 0, tmp_path, registry=registry).run()
    told = f"row 'AAE': hook 'tracker' of plugin 'tracking' (tests 1) failed {when}: ConnectionError: offline, at "
    assert str(caught.value).startswith(told + __file__)
    FAILS.clear()
    Trainer(plan, 0, tmp_path, registry=registry).run()
    assert HEARD[-1][0] == "finished"


def test_a_part_that_fails_inside_of_a_hook_is_named(tiny, registry, tmp_path, monkeypatch):
    """Drawing for a hook that may fail does not end the run."""
    from genprior_std.priors.gaussian import Gaussian

    plan = plan_of(tiny, registry, 'run.hooks.tracker.on_error="warn"', "run.steps=1")
    sample = Gaussian.sample

    def broken(self, asked):
        if not self.training:
            raise ValueError("no codes in evaluation")
        return sample(self, asked)

    monkeypatch.setattr(Gaussian, "sample", broken)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        Trainer(plan, 0, tmp_path, registry=registry).run()
    (text,) = [str(each.message) for each in caught]
    told = (
        "row 'AAE': hook 'tracker' of plugin 'tracking' (tests 1) failed with the samples of step 1: prior 'gaussian'"
    )
    assert text.startswith(f"{told} of plugin 'std'") and text.endswith("the run goes on")
    assert HEARD[-1][0] == "finished"


def test_hook_functions_are_skipped(tiny, registry, tmp_path):
    registry.add(Functions(), Origin("functions", "tests 2"))
    FAILS["genprior_step_done"] = ConnectionError("offline")
    with pytest.raises(PartFailed) as caught:
        Trainer(plan_of(tiny, registry), 0, tmp_path, registry=registry).run()
    assert "the hook function genprior_step_done of plugin 'functions' (tests 2) failed after step 1" in str(
        caught.value
    )
    remedy = "skip_hook_functions = ['functions']"
    assert f"with [run] {remedy} the run goes on without the plugin's" in str(caught.value)
    HEARD.clear()
    (names,) = tomllib.loads(remedy).values()
    skipping = plan_of(tiny, registry, f"run.skip_hook_functions={names!r}")
    assert plan_of(tiny, registry).differences(skipping.as_table()) == []
    Trainer(skipping, 0, tmp_path, registry=registry).run()
    assert HEARD[-1][0] == "finished" and not any(event[0].startswith("genprior") for event in HEARD)


def test_a_plugin_to_skip_that_is_not_there(tiny, registry):
    plan = plan_of(tiny, registry, 'run.skip_hook_functions=["trackin"]')
    with pytest.raises(
        PlanError, match=r"run.skip_hook_functions: there is no plugin 'trackin'; did you mean 'tracking'"
    ):
        listeners.Listeners(plan, registry)


# ---------------------------------------------------------------------------------------------------------------------
# The check of a recipe
# ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def everywhere(registry):
    """The tracker in the registry of the process."""
    installed.cache_clear()
    installed().add(Plugin(), Origin("tracking", "tests 1"))
    yield installed()
    installed.cache_clear()


def test_a_check_calls_no_hook_that_may_have_effects(tiny, everywhere):
    preflight(genprior.load_recipe(tiny, rows=["AAE"], settings=["run.hooks.tracker.enabled=true"]), "cpu")
    assert HEARD == []


def test_a_check_rehearses_a_hook_that_says_so(tiny, everywhere, monkeypatch, tmp_path):
    monkeypatch.setattr(Tracker, "rehearsed", True)
    recipe = genprior.load_recipe(tiny, rows=["AAE"], settings=["run.hooks.tracker.enabled=true"])
    preflight(recipe, "cpu")
    assert [event[0] for event in HEARD] == [
        "started", "step_done", "epoch_done", "sampled", "checkpoint_written", "finished"
    ]  # fmt: skip
    FAILS["finished"] = KeyError("accuracy")
    with pytest.raises(RecipeError) as caught:
        preflight(recipe, "cpu")
    text = str(caught.value)
    assert (
        "hook 'tracker' of plugin 'tracking' (tests 1) failed after the run was scored: KeyError: 'accuracy', at "
        in text
    )
    assert ". Mend it, or switch it off: [run.hooks.tracker] enabled = false [row AAE]" in text
    assert "resumes" not in text
