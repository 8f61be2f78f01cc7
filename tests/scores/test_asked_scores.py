"""Scores of images asked for by label or category, on models whose answers are known."""

from __future__ import annotations

import contextlib

import pytest
import torch

import genprior
from genprior import Asks, Condition, Model, PartConfig, PlanError, RecipeError, ScoreError, generate_labels
from genprior.launch.preflight import preflight
from genprior.runs.trainer import Trainer
from genprior.scoring.context import SampleContext
from genprior.scoring.measure import measure_all
from genprior_std.scores.category_purity import CategoryPurity, count_pairs, purity
from genprior_std.scores.label_accuracy import LabelAccuracy

from ..small import aae


class Sketcher(Model):
    """Draws the class `shows[k]` of label or category k, as the fixture `shapes` has it, with its own noise."""

    name = "sketcher"
    Config = PartConfig

    def __init__(self, shows, kind="label"):
        super().__init__(PartConfig())
        self.gain = torch.nn.Parameter(torch.ones(()))
        self.shows = torch.tensor(shows)
        self.kind = kind
        self.seen_training = []

    @property
    def asks(self):
        return Asks(self.kind, len(self.shows))

    def phases(self):
        return ()

    def condition(self, like, y=None):
        if self.kind not in ("label", "category"):
            raise PlanError("takes no label")
        assert y is not None
        return Condition(like.new_zeros(len(like), 0), y[:, None].float())

    def generate(self, condition):
        self.seen_training.append(self.training)
        shown = self.shows[condition.asked[:, 0].long()]
        base = torch.tensor([40.0, 200.0, 40.0])[shown][:, None, None, None].repeat(1, 1, 8, 8)
        base[shown == 2, :, :, :4] = 200.0
        return ((base + 20 * torch.randn(base.shape) * self.gain).clamp(0, 255) / 127.5) - 1


class Guessing(Sketcher):
    """Ignores its label."""

    def condition(self, like, y=None):
        told = super().condition(like, y)
        return told._replace(asked=torch.randint(len(self.shows), (len(like), 1)).float())


def score(config, model, load, cache, seed=0):
    @contextlib.contextmanager
    def trained():
        yield model

    context = SampleContext(lambda n: None, load, device="cpu", seed=seed, cache=cache, trained=trained)
    return measure_all([config.make()], context, "row")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def test_labels_are_recognised_in_percent_beside_those_of_real_images(cache, load_shapes):
    model = Sketcher([0, 1, 2]).train()
    found = score(LabelAccuracy.Config(samples=90), model, load_shapes, cache)
    # The classes are apart by many standard deviations of the pixels' noise.
    assert found == {"label_accuracy": 100.0, "real_label_accuracy": 100.0}
    assert model.seen_training == [False] and model.training
    # Labels 1 and 2 exchanged: only the third of label 0 is right; samples of each label are equally many.
    found = score(LabelAccuracy.Config(samples=90), Sketcher([0, 2, 1]), load_shapes, cache)
    assert found["label_accuracy"] == pytest.approx(100 / 3)


def test_a_model_that_ignores_its_label_is_right_by_chance(cache, load_shapes):
    found = score(LabelAccuracy.Config(samples=3_000), Guessing([0, 1, 2]), load_shapes, cache)
    # The standard deviation is 100 sqrt(2 / 9 / 3000) = 0.86; five of them are exceeded once in two million seeds.
    assert found["label_accuracy"] == pytest.approx(100 / 3, abs=4.3)


def test_images_depend_on_the_seed_and_more_begin_with_fewer():
    model, name = Sketcher([0, 1, 2]), LabelAccuracy.Config().make()
    y, images = name.draw_in_turn(model, 3, 520)
    assert y.tolist() == [i % 3 for i in range(520)] and images.shape == (520, 1, 8, 8)
    for n in (3, 7, 500, 501):
        assert torch.equal(name.draw_in_turn(model, 3, n)[1], images[:n])
    assert not torch.equal(name.draw_in_turn(model, 4, 520)[1], images)
    # Another score draws other noise.
    assert not torch.equal(CategoryPurity.Config().make().draw_in_turn(model, 3, 520)[1], images)


def test_purity_is_the_mean_share_of_the_most_frequent_class():
    categories, classes = torch.tensor([0, 0, 0, 0, 2, 2, 2]), torch.tensor([1, 1, 1, 0, 2, 0, 0])
    counts = count_pairs(categories, classes, 4)
    assert counts.tolist() == [[1, 3, 0, 0], [2, 0, 1, 0]]
    assert purity(counts) == pytest.approx(100 * (3 / 4 + 2 / 3) / 2)


def test_categories_have_no_names_and_may_share_a_class(cache, load_shapes):
    found = score(CategoryPurity.Config(samples=80), Sketcher([2, 0, 1, 0], "category"), load_shapes, cache)
    assert found == {"category_purity": 100.0, "real_category_purity": 100.0, "classes_named": 3.0}
    found = score(CategoryPurity.Config(samples=6_000), Guessing([0, 1, 2], "category"), load_shapes, cache)
    # max of three shares of 2000: 1/3 and at most five standard deviations, 5 * 100 sqrt(2 / 9 / 2000) = 5.3.
    assert 100 / 3 <= found["category_purity"] <= 100 / 3 + 5.3


@pytest.mark.parametrize(
    ("config", "kind", "text"),
    [
        (
            LabelAccuracy.Config(),
            "category",
            "model 'sketcher' is asked for categories that it found without labels: score it by 'category_purity'; "
            "'label_accuracy' needs a model that takes a label (conditioner 'label', or 'infogan' with supervised = "
            "true). Leave the score out of this row, or use another model",
        ),
        (
            LabelAccuracy.Config(),
            "nothing",
            "model 'sketcher' cannot be asked for images of a kind; 'label_accuracy' needs a model that takes a label "
            "(conditioner 'label', or 'infogan' with supervised = true). Leave the score out of this row, or use "
            "another model",
        ),
        (
            CategoryPurity.Config(),
            "label",
            "model 'sketcher' is asked for labels: score it by 'label_accuracy'; 'category_purity' needs a model that "
            "takes a category (conditioner 'infogan' with a categorical code). Leave the score out of this row, or use "
            "another model",
        ),
        (
            CategoryPurity.Config(),
            "text",
            "model 'sketcher' is asked by a text: score it by 'caption_accuracy'; 'category_purity' needs a model that "
            "takes a category (conditioner 'infogan' with a categorical code). Leave the score out of this row, or use "
            "another model",
        ),
        (
            CategoryPurity.Config(samples=2),
            "category",
            "'category_purity' of 2 samples has none of some of the 3 categories of model 'sketcher'; set samples to "
            "at least 3",
        ),
        (
            LabelAccuracy.Config(samples=1),
            "label",
            "'label_accuracy' of 1 samples has none of some of the 3 labels of model 'sketcher'; set samples to at "
            "least 3",
        ),
    ],
)
def test_a_model_that_cannot_be_asked_so_is_refused(config, kind, text, cache, load_shapes):
    with pytest.raises(ScoreError) as caught:
        config.make().check_row(Sketcher([0, 1, 2], kind), load_shapes)
    assert str(caught.value) == text
    with pytest.raises(ScoreError) as caught:
        score(config, Sketcher([0, 1, 2], kind), load_shapes, cache)
    assert str(caught.value) == f"row: score '{config.name}': {text}"


def test_categories_of_images_without_labels_are_refused_before_training(load_shapes):
    def unlabelled(split):
        whole = load_shapes(split)
        return whole._replace(labels=torch.zeros_like(whole.labels), classes=())

    with pytest.raises(ScoreError, match="this one has 0 .* give it labels"):
        CategoryPurity.Config().make().check_row(Sketcher([0, 1], "category"), unlabelled)


def test_images_alone_are_refused(make_context):
    with pytest.raises(ScoreError, match="needs the model, but there are only images; score the run instead"):
        measure_all([LabelAccuracy.Config().make()], make_context(), "row")


def test_the_images_of_other_scores_are_not_drawn(cache, load_shapes):
    """The context's sampler returns None, which would be refused; `--samples` still sets the number."""
    name = LabelAccuracy.Config().make()
    assert name.samples is None and name.with_samples(77).samples == 77
    assert LabelAccuracy.needs_generated and CategoryPurity.needs_generated


# ---------------------------------------------------------------------------------------------------------------------
# What standard models can be asked for, and rows that are refused before they are trained
# ---------------------------------------------------------------------------------------------------------------------


def load_row(folder, conditioner, scores):
    path = folder / "asked.toml"
    row = f'title = "asked"\nscores = [{scores}]\n[run]\nsteps = 1\nbatch = 12\n[data]\nname = "digits"\nsize = 8\n'
    path.write_text(f'{row}[optimiser.default]\nname = "adam"\n{aae()}[[row]]\nlabel = "row"\nchanges = []\n')
    return genprior.load_recipe(path, settings=[f"model.conditioner={conditioner}"])


@pytest.mark.parametrize(
    ("conditioner", "asks"),
    [
        ('{ name = "none" }', Asks()),
        ('{ name = "label" }', Asks("label", 10)),
        ('{ name = "partial_label" }', Asks("label", 10)),
        ('{ name = "infogan", categorical = [10, 3], supervised = true }', Asks("label", 10)),
        ('{ name = "infogan", categorical = [7, 3] }', Asks("category", 7)),
        ('{ name = "infogan", categorical = [], continuous = 2 }', Asks()),
    ],
)
def test_a_model_states_what_it_can_be_asked_for(conditioner, asks, tmp_path):
    (plan,) = load_row(tmp_path, conditioner, "").plans
    trainer = Trainer(plan, 0, tmp_path, device="cpu")
    trainer.prepare()
    assert trainer.model.asks == asks


@pytest.mark.parametrize("name", ["label_accuracy", "category_purity", "style_consistency", "caption_accuracy"])
def test_a_row_that_cannot_be_asked_is_refused_before_training(name, tmp_path):
    recipe = load_row(tmp_path, '{ name = "none" }', f'{{ name = "{name}" }}')
    with pytest.raises(RecipeError) as caught:
        preflight(recipe, device="cpu")
    assert caught.value.exit_code == 2
    start = f"  score '{name}': model 'aae' cannot be asked for images of a kind; '{name}' needs a model that takes a "
    assert start in str(caught.value) and str(caught.value).endswith("or use another model [row row]")


@pytest.mark.parametrize(
    ("conditioner", "scores"),
    [("label", ("label_accuracy", "style_consistency")), ("infogan", ("category_purity", "style_consistency"))],
)
def test_rows_that_can_be_asked_pass(conditioner, scores, tmp_path):
    listed = ", ".join(f'{{ name = "{name}" }}' for name in scores)
    recipe = load_row(tmp_path, f'{{ name = "{conditioner}" }}', listed)
    before = set(tmp_path.rglob("*"))
    preflight(recipe, "cpu")
    assert tuple(score.name for score in recipe.plans[0].scores) == scores
    assert set(tmp_path.rglob("*")) == before


def test_rows_of_one_place_share_their_noise():
    """Images of one label differ from place to place, and those of two labels at one place in the label alone."""
    model = Sketcher([0, 1, 0])
    drawn = [
        generate_labels(model, torch.full((30,), label), seed=1, stream=stream)
        for label, stream in ((0, "a"), (2, "a"), (0, "b"))
    ]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2]) and not torch.equal(drawn[0][0], drawn[0][1])
    mixed = generate_labels(model, torch.arange(30) % 3, seed=1, stream="a")
    assert torch.equal(mixed[0::3], drawn[0][0::3]) and torch.equal(mixed[2::3], drawn[0][2::3])
    assert model.seen_training == [False] * 4
