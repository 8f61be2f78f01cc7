"""The check of a recipe meets what training will meet: a checkpoint, scores, their columns, the table, splits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import genprior
from genprior import Column, DataError, Dataset, ImageSet, PartConfig, Prior, RecipeError, Score, hookimpl
from genprior.launch.preflight import preflight
from genprior.registry import Origin, installed
from genprior.scoring.measure import columns_of

from ..plugins.guide import guide_module

MADE: list[torch.nn.Module] = []


class Keeps(Prior):
    """Keeps what it borrows as its own."""

    name = "keeps"
    borrows = ("encoder",)

    class Config(PartConfig):
        """What it keeps."""

        what: str = "nothing"
        """What."""

    def __init__(self, config, sizes, encoder):
        super().__init__(config, sizes)
        self.encoder = encoder
        if config.what == "module":
            self.first = next(module for module in encoder.children() if list(module.parameters()))
        if config.what == "parameter":
            self.weight = next(encoder.parameters())
        if config.what == "drifts":
            self.register_buffer("count", torch.zeros(1))

    def sample(self, asked):
        return torch.randn(len(asked), self.sizes.code, device=asked.device, dtype=asked.dtype)

    def _load_from_state_dict(self, *arguments):
        super()._load_from_state_dict(*arguments)
        if self.config.what == "drifts":
            self.count += 1


class KeepsBySettings(Keeps):
    """Says by its settings that it borrows."""

    name = "keeps_by_settings"
    borrows = ()

    @classmethod
    def borrows_of(cls, config):
        return ("encoder",)


class Two(Score):
    """Returns two numbers."""

    name = "two"
    higher_is_better = True

    class Config(PartConfig):
        """What is wrong."""

        wrong: str = ""
        """What."""
        samples: int = 1000
        """Images."""

    @property
    def columns(self):
        if self.config.wrong == "none":
            return (Column("two", "two", True),)
        if self.config.wrong == "texts":
            return ("low", "high")
        return (Column("low", "low", False), Column("high", "high", True, "no image is bright"))

    def measure(self, context):
        images = context.generated(self.samples)
        assert self.config.wrong == "measured" or len(images) == 24
        if self.config.wrong == "raises":
            raise IndexError("too few")
        return {"low": float(images.min()), **({} if self.config.wrong == "empty" else {"high": float(images.max())})}


class NoTest(Dataset):
    """Has no test images."""

    name = "no_test"

    def load(self, split):
        if split != "train":
            raise DataError("this set has no test images; add some")
        return ImageSet(torch.zeros(40, 1, 8, 8).byte(), torch.zeros(40).long(), ("all",))


class Plugin:
    @hookimpl
    def genprior_parts(self, register):
        for part in (Keeps, KeepsBySettings, Two, NoTest):
            register(part)


@pytest.fixture(autouse=True)
def _installed(no_curves):
    installed.cache_clear()
    installed().add(Plugin(), Origin("mine", "genprior-mine 1.2"))
    yield
    installed.cache_clear()


def refusal(tiny, *settings):
    recipe = genprior.load_recipe(tiny, rows=["AAE"], settings=settings)
    with pytest.raises(RecipeError) as caught:
        preflight(recipe, "cpu")
    return str(caught.value)


@pytest.mark.parametrize(("what", "stored"), [("module", "prior.first.0.0.weight"), ("parameter", "prior.weight")])
@pytest.mark.parametrize("name", ["keeps", "keeps_by_settings"])
def test_a_stored_borrowed_module_is_found_before_the_first_checkpoint(tiny, what, stored, name):
    text = refusal(tiny, f'model.prior={{name="{name}", what="{what}"}}')
    assert f"prior '{name}' stores '{stored}', which is also 'encoder." in text
    assert "so a checkpoint would hold it twice. A part that borrows a module keeps the Borrowed object" in text


def test_a_checkpoint_that_comes_back_as_another_is_refused(tiny):
    text = refusal(tiny, 'model.prior={name="keeps", what="drifts"}')
    assert "a checkpoint does not keep model/prior.count of this row: other values came back than were written" in text


def test_a_part_that_keeps_the_borrowed_object_passes_and_nothing_is_written(tiny, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    recipe = genprior.load_recipe(tiny, settings=['model.prior={name="keeps"}', 'scores=[{name="two"}]'], rows=["AAE"])
    state = torch.get_rng_state()
    preflight(recipe, "cpu")
    assert sorted(tmp_path.rglob("*")) == before and torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (
            "none",
            "score 'two' returned low, high, and none of the columns that it declares: two. So a table would not show "
            'it: declare columns = (Column("low", "low", True), Column("high", "high", True),) in the class',
        ),
        ("texts", "score 'two' declares the column 'low'; `columns` is a tuple of genprior.Column(key, title, higher"),
        ("raises", "score 'two' of plugin 'mine' (genprior-mine 1.2) raised IndexError: too few, at "),
        (
            "raises",
            ", when score 'two' was measured on 24 images. If it only needs more, let it raise a genprior.Score",
        ),
    ],
)
def test_a_score_with_wrong_columns_or_that_raises(tiny, wrong, text):
    assert text in refusal(tiny, f'scores=[{{name="two", wrong="{wrong}"}}]')


def test_a_score_may_say_that_it_is_not_rehearsed(tiny, monkeypatch):
    monkeypatch.setattr(Two, "rehearsed", False)
    preflight(genprior.load_recipe(tiny, rows=["AAE"], settings=['scores=[{name="two", wrong="raises"}]']), "cpu")


def test_the_test_split_of_scores(tiny):
    settings = ['data={name="no_test"}', "run.hooks.pictures.enabled=false"]
    assert "this set has no test images; add some [row AAE]" in refusal(tiny, *settings, 'scores=[{name="two"}]')
    preflight(genprior.load_recipe(tiny, rows=["AAE"], settings=settings), "cpu")


def test_columns_are_public_names():
    assert columns_of([Two.Config().make()])["high"] == genprior.Column("high", "high", True, "no image is bright")


def test_an_empty_column_says_why_in_the_table_and_in_show(tiny, tmp_path, call):
    text = tiny.read_text() + '\n[change.full]\nscores = [{ name = "two", wrong = "measured" }]\n'
    text = text.replace('label = "AAE"\nchanges = []', 'label = "AAE"\nchanges = ["half"]')
    text += '[change.half]\nscores = [{ name = "two", wrong = "empty", samples = 24 }]\n'
    tiny.write_text(text)
    recipe = genprior.load_recipe(tiny, rows=["AAE"])
    table = genprior.train(recipe, out=tmp_path / "out", device="cpu")
    why = "score 'two' was measured, and gave no 'high' here: no image is bright"
    assert table.rows[0].empty == {"high": why} and why in (tmp_path / "out" / "table.md").read_text()
    shown = call("show", tmp_path / "out" / "AAE" / "seed-0").stdout
    assert f"no number │ {why}" in shown.replace("|", "│") or why in shown
    assert why in call("show", tmp_path / "out").stdout


def test_the_number_of_a_score_in_no_column_is_a_warning_after_training(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(Two, "rehearsed", False)
    recipe = genprior.load_recipe(tiny, rows=["AAE"], settings=['scores=[{name="two", wrong="none", samples=24}]'])
    with pytest.warns(genprior.GenpriorWarning, match=r"AAE: score 'two' returned low, high, and none of the columns"):
        genprior.train(recipe, out=tmp_path / "out", device="cpu")
    assert Path(tmp_path, "out", "AAE", "seed-0", "scores.json").exists()


def test_the_score_of_several_numbers_of_the_guide(tiny, tmp_path):
    class Guide:
        @hookimpl
        def genprior_parts(self, register):
            register(guide_module().Levels)

    installed().add(Guide(), Origin("guide", "tests 1"))
    recipe = genprior.load_recipe(tiny, rows=["AAE"], settings=['scores=[{name="levels", samples=30}]'])
    table = genprior.train(recipe, out=tmp_path / "out", device="cpu")
    images = genprior.load_run(tmp_path / "out" / "AAE" / "seed-0").sample(30).double().mean((1, 2, 3))
    assert [column.title for column in table.columns] == ["mean level", "range of levels"]
    assert table.rows[0].scores["level"].mean == pytest.approx(float(images.mean()))
    assert table.rows[0].scores["level_range"].mean == pytest.approx(float(images.max() - images.min()))
