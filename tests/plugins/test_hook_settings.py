"""Hooks with settings: `[run.hooks.NAME]` of a recipe, checked, resolved and listed like any part's."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from pydantic import Field

import genprior
from genprior import Hook, HookConfig, PartConfig, PlanError, PluginError, RecipeError, TrainingRun, hookimpl
from genprior.launch.preflight import preflight
from genprior.recipe.plan import Plan
from genprior.recipe.schema import recipe_schema
from genprior.registry import Origin, Registry, installed, load
from genprior.runs.folder import RunFolder
from genprior.runs.trainer import Trainer
from genprior_std.models.aae import AdversarialAutoencoder

from .guide import guide_module

HEARD: list[tuple] = []


class Diary(Hook):
    """Writes down what it hears."""

    name = "diary"

    class Config(HookConfig):
        """Settings of the diary."""

        every: int = Field(2, ge=1)
        """Steps between two entries."""

    def started(self, run: TrainingRun) -> None:
        HEARD.append(("started", run.step))

    def step_done(self, run: TrainingRun, step: int, metrics: Mapping[str, float] | None) -> None:
        if step % self.config.every == 0:
            HEARD.append(("step", step, metrics is not None))

    def finished(self, run: TrainingRun, scores: Mapping[str, float]) -> None:
        HEARD.append(("finished", run.step, dict(scores)))


class Plugin:
    """A plugin with the parts that it is given."""

    def __init__(self, *hooks: type[Hook]) -> None:
        self.hooks = hooks

    @hookimpl
    def genprior_parts(self, register):
        for hook in self.hooks:
            register(hook)


@pytest.fixture
def registry() -> Registry:
    HEARD.clear()
    made = load()
    made.add(Plugin(Diary), Origin("diary", "tests 1"))
    return made


def resolved(tiny: Path, registry: Registry, text: str = "", *settings: str) -> Plan:
    tiny.write_text(tiny.read_text() + text)
    return genprior.load_recipe(tiny, rows=["AAE"], settings=settings, registry=registry).plans[0]


DEFAULTS = {
    "enabled": True,
    "on_error": "stop",
    "samples": 100,
    "images": 2000,
    "columns": 20,
    "clusters": 30,
    "members": 10,
}


def test_the_hook_on_by_default_is_in_every_resolved_recipe(tiny, registry):
    plan = resolved(tiny, registry)
    assert plan.as_table()["run"]["hooks"] == {"pictures": DEFAULTS}
    written = tomllib.loads(plan.as_toml())
    assert written["run"]["hooks"] == {"pictures": DEFAULTS}
    again = Plan.model_validate(written, context={"registry": registry})
    assert again == plan and again.run.hooks["pictures"].samples == 100


def test_a_recipe_turns_a_hook_on_by_naming_it(tiny, registry, tmp_path):
    plan = resolved(tiny, registry, "\n[run.hooks.diary]\n")
    assert plan.as_table()["run"]["hooks"]["diary"] == {"enabled": True, "on_error": "stop", "every": 2}
    Trainer(plan, 0, tmp_path, registry=registry).run()
    steps = [("step", 2, True), ("step", 4, True), ("step", 6, True)]
    assert [("started", 0), *steps, ("finished", 6, {})] == HEARD
    HEARD.clear()
    Trainer(resolved(tiny, registry, "every = 3\n"), 0, tmp_path / "thirds", registry=registry).run()
    assert [("started", 0), ("step", 3, False), ("step", 6, True), ("finished", 6, {})] == HEARD


def test_a_hook_is_switched_off(tiny, registry, tmp_path):
    settings = ["run.hooks.diary.enabled=false", "run.hooks.pictures.enabled=false"]
    Trainer(resolved(tiny, registry, "", *settings), 0, tmp_path, registry=registry).run()
    assert HEARD == [] and not (tmp_path / "samples").exists()
    assert RunFolder(tmp_path).plan().run.hooks["pictures"].enabled is False


def test_a_change_sets_a_hook(tiny, registry):
    text = (
        "\n[run.hooks.diary]\nevery = 3\n[change.quick.run.hooks.diary]\nevery = 5\n[change.quick.run.hooks.pictures]\n"
    )
    tiny.write_text(tiny.read_text() + text + "samples = 4\n")
    (plan,) = genprior.load_recipe(tiny, rows=["AAE"], changes=["quick"], registry=registry).plans
    assert (plan.run.hooks["diary"].every, plan.run.hooks["pictures"].samples) == (5, 4)


MISTAKES = {
    "[run.hooks.picturs]\nimages = 5": "run.hooks.picturs: there is no hook named 'picturs'; did you mean 'pictures'?",
    "[run.hooks.pictures]\nimags = 5": (
        "run.hooks.pictures.imags: unknown key 'imags'; did you mean 'images'? Possible: clusters, columns, enabled, "
        "images, members, on_error, samples"
    ),
    "[run.hooks.pictures]\nimages = 0": "run.hooks.pictures.images: input should be greater than or equal to 1; got 0",
    '[run.hooks.pictures]\nname = "diary"': (
        "run.hooks.pictures.name: differs from the hook of the table, 'pictures'; leave the name out"
    ),
    "[run.hooks]\npictures = false": (
        "run.hooks.pictures: a table of the hook's settings is needed, such as { enabled = false }; got False"
    ),
    "[change.C.run.hooks.pictures]\nimags = 5": "run.hooks.pictures.imags: unknown key 'imags'; did you mean 'images'?",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_a_mistake_is_shown_with_its_line(tiny, registry, text):
    line = len(tiny.read_text().splitlines()) + 2
    tiny.write_text(f"{tiny.read_text()}\n{text}\n")
    with pytest.raises(RecipeError) as caught:
        genprior.load_recipe(tiny, registry=registry)
    shown = str(caught.value)
    assert MISTAKES[text] in shown
    line += not MISTAKES[text].startswith("run.hooks.picturs")
    assert f"{tiny}:{line}: " in shown


def test_hooks_that_are_no_table(tiny, registry):
    with pytest.raises(
        RecipeError, match=r"run.hooks \(--set run.hooks=3\): input should be a table of keys and values; got 3"
    ):
        resolved(tiny, registry, "", "run.hooks=3")


def test_settings_of_hooks_are_no_other_run(tiny, registry, tmp_path):
    plan = resolved(tiny, registry)
    Trainer(plan, 0, tmp_path).run()
    other = resolved(tiny, registry, "", "run.hooks.pictures.samples=4", "run.hooks.diary.every=5")
    assert plan.differences(other.as_table()) == []
    assert RunFolder(tmp_path, registry).finished(other)


def test_a_run_of_before_hooks_had_settings_loads_resumes_and_is_finished(tiny, tmp_path):
    (plan,) = genprior.load_recipe(tiny, rows=["AAE"]).plans
    Trainer(plan, 0, tmp_path).run(until=3)
    path = tmp_path / "recipe.toml"
    older = "\n".join(block for block in path.read_text().split("\n\n") if not block.startswith("[run.hooks"))
    assert "hooks" not in older
    path.write_text(older)
    assert genprior.load_run(tmp_path).plan == plan
    Trainer(plan, 0, tmp_path).run()
    path.write_text(older)
    assert RunFolder(tmp_path).finished(plan)


def test_a_run_outlives_its_hooks(tiny, registry, tmp_path):
    """The package of a hook is gone, or its settings are others: the run loads without it."""
    plan = resolved(tiny, registry, "\n[run.hooks.diary]\n", "run.hooks.pictures.samples=4")
    Trainer(plan, 0, tmp_path, registry=registry).run()
    assert genprior.load_run(tmp_path).plan.run.hooks.keys() == {"pictures"}
    assert genprior.load_run(tmp_path, registry=registry).plan == plan
    path = tmp_path / "recipe.toml"
    path.write_text(path.read_text().replace("columns = 20", "colums = 20"))
    kept = RunFolder(tmp_path, registry)
    diary = {"enabled": True, "on_error": "stop", "every": 2}
    assert kept.plan().as_table()["run"]["hooks"] == {"pictures": DEFAULTS, "diary": diary}
    assert kept.finished(plan)


def test_what_a_hook_lacks_is_told_before_anything_trains(tiny, registry, tmp_path):
    class Locked(Hook):
        """Needs a key."""

        name = "locked"

        def __init__(self, config):
            raise PlanError("hook 'locked' needs a key; set LOCKED_KEY")

    installed().add(Plugin(Locked), Origin("locked", "tests 1"))
    try:
        recipe = genprior.load_recipe(tiny, rows=["AAE"], settings=["run.hooks.locked={}"])
        with pytest.raises(RecipeError, match=r"hook 'locked' needs a key; set LOCKED_KEY \[row AAE\]"):
            preflight(recipe)
    finally:
        installed.cache_clear()


def test_hooks_hear_before_hook_functions(tiny, registry, tmp_path):
    class Functions:
        @hookimpl
        def genprior_run_started(self, trainer):
            HEARD.append(("function", (trainer.folder / "samples" / "real.png").exists()))

    registry.add(Functions(), Origin("functions", "tests 1"))
    Trainer(resolved(tiny, registry, "\n[run.hooks.diary]\n"), 0, tmp_path, registry=registry).run(until=1)
    assert HEARD == [("started", 0), ("function", True)]


def test_a_hook_without_the_switch_is_refused():
    class Bare(Hook):
        name = "bare"

        class Config(PartConfig):
            pass

    with pytest.raises(
        PluginError, match="hook 'bare', whose settings lack `enabled`: derive its Config from genprior"
    ):
        Registry().add(Plugin(Bare), Origin("bare", "tests 1"))


def test_a_hook_on_by_default_needs_no_settings():
    class Needy(Hook):
        name = "needy"
        on_by_default = True

        class Config(HookConfig):
            project: str

    with pytest.raises(PluginError, match="'needy', which is on by default and cannot be made without: project. Give"):
        Registry().add(Plugin(Needy), Origin("needy", "tests 1"))


def test_the_schema_has_hooks_by_name(registry):
    schema = recipe_schema(registry)
    hooks = schema["$defs"]["run"]["properties"]["hooks"]
    assert hooks["additionalProperties"] is False and hooks["properties"].keys() == {
        "diary", "mlflow", "pictures", "tensorboard", "trackio", "wandb",
    }  # fmt: skip
    assert hooks["properties"]["diary"] == {"$ref": "#/$defs/change.hook.diary"}
    assert not schema["$defs"]["change.hook.diary"]["required"]
    assert schema["$defs"]["change.hook.diary"]["properties"]["every"]["description"] == "Steps between two entries."


def test_the_settings_of_pictures_are_what_they_show(tiny, tmp_path, monkeypatch):
    def three_clusters(self, batch):
        bright = batch.x.mean((1, 2, 3))
        return torch.nn.functional.one_hot((bright > -0.5).long() + (bright > -0.3).long(), 3).float()

    monkeypatch.setattr(AdversarialAutoencoder, "clusters", three_clusters)
    pictures = "{samples=6,images=50,columns=4,clusters=2,members=3}"
    settings = [f"run.hooks.pictures={pictures}", "model.code_size=2", "run.sample_every=3"]
    (plan,) = genprior.load_recipe(tiny, rows=["AAE"], settings=settings).plans
    Trainer(plan, 0, tmp_path).run()
    from PIL import Image

    def size(name: str) -> tuple[int, int]:
        with Image.open(tmp_path / "samples" / name) as picture:
            return picture.size

    # 6 images of 8 x 8 stand in one row, each with a frame of 2; three pairs of images are as wide, below their names.
    assert size("real.png") == size("step-00000003.png") == (62, 12)
    assert size("reconstructions.png")[0] == 62 and size("reconstructions.png")[1] > 50
    assert size("walk.png") == (42, 42)
    assert size("clusters.png") == (32, 22)


def test_the_hook_of_the_guide_works(tiny, tmp_path):
    class Guide:
        @hookimpl
        def genprior_parts(self, register):
            register(guide_module().Diary)

    registry = load()
    registry.add(Guide(), Origin("diary", "tests 1"))
    Trainer(resolved(tiny, registry, '\n[run.hooks.diary]\nfile = "notes.txt"\n'), 0, tmp_path, registry=registry).run()
    lines = (tmp_path / "diary" / "notes.txt").read_text().splitlines()
    assert [line.partition(":")[0] for line in lines] == ["AAE, step 2", "AAE, step 4", "AAE, step 6"]
