"""The standard figures: the data behind them is what the models of the runs give."""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from sklearn.manifold import TSNE

from genprior import Asks, Attribute, DataError, ImageSet, PlanError, RunError, images_to_float, load_run, to_uint8
from genprior_std.figures.fig7_gans import SamplesOfGans
from genprior_std.figures.fig8_codes import SmallCodes
from genprior_std.figures.fig9_high_dimension import LargeCodes
from genprior_std.figures.fig10_supervised import SupervisedGrid
from genprior_std.figures.fig11_codes import SupervisedCodes
from genprior_std.figures.fig12_unsupervised import UnsupervisedGrid
from genprior_std.figures.fig13_codes import UnsupervisedCodes
from genprior_std.figures.fig14_text import ImagesOfSentences
from genprior_std.figures.fig15_colours import ColourSweep


@pytest.fixture
def runs(table):
    return [load_run(table / label / "seed-0") for label in ("fixed prior", "learned prior")]


def drawn(part, runs, seed=0, **settings):
    return part(part.Config(**settings)).draw(runs, seed)


def texts(drawing):
    return [text.get_text() for text in drawing.picture.texts]


@pytest.mark.parametrize(("part", "size"), [(SamplesOfGans, 8), (SmallCodes, 10), (LargeCodes, 10)])
def test_samples_side_by_side(part, size, runs):
    assert part.Config().grid == size
    drawing = drawn(part, runs, seed=3, grid=2)
    assert drawing.arrays["images"].shape == (2, 2, 2, 8, 8, 1)
    for shown, run in zip(drawing.arrays["images"], runs, strict=True):
        assert np.array_equal(shown.reshape(4, 8, 8, 1), run.sample(4, seed=3).permute(0, 2, 3, 1).numpy())
    assert texts(drawing) == ["fixed prior", "learned prior"]


def test_reconstructions_stand_beside_their_images(runs):
    drawing = drawn(SmallCodes, runs, grid=4, show="reconstructions")
    titles = [" ".join(text.split()) for text in texts(drawing)]
    assert titles == [f"{run.label}: images | reconstructions" for run in runs]
    images = drawing.arrays["images"]
    held_out = runs[0].images("test").take(slice(8))
    for shown, run in zip(images, runs, strict=True):
        with torch.no_grad():
            z = run.model.encoder(
                images_to_float(held_out.images), run.model.condition(held_out.labels, held_out.labels)[0]
            )
            x_rec = to_uint8(run.model.decoder(z.mean, torch.nn.functional.one_hot(held_out.labels, 10).float()))
        pairs = shown.reshape(8, 2, 8, 8, 1)
        assert np.array_equal(pairs[:, 0], held_out.images.permute(0, 2, 3, 1).numpy())
        assert np.array_equal(pairs[:, 1], x_rec.permute(0, 2, 3, 1).numpy())


def test_reconstructions_that_cannot_be_shown(runs, monkeypatch):
    with pytest.raises(PlanError, match="shows each image beside its reconstruction, and grid = 3 is odd; set an even"):
        drawn(SmallCodes, runs, grid=3, show="reconstructions")
    with pytest.raises(
        DataError, match="grid = 30 shows 450 held-out images, and the data of row 'fixed prior' has 360"
    ):
        drawn(SmallCodes, runs, grid=30, show="reconstructions")
    monkeypatch.setattr(type(runs[0].model), "reconstruct", lambda model, batch: None)
    with pytest.raises(PlanError, match="row 'fixed prior' has no encoder, so it has no reconstructions; use --set"):
        drawn(SmallCodes, runs, grid=2, show="reconstructions")


def test_runs_of_different_sizes_are_refused(runs, monkeypatch):
    monkeypatch.setattr(runs[1], "sample", lambda n, seed: torch.zeros(n, 3, 16, 16, dtype=torch.uint8))
    with pytest.raises(DataError, match=r"row 'learned prior' has images of .* = \[3, 16, 16\], and row 'fixed prior'"):
        drawn(SmallCodes, runs, grid=2)


@pytest.fixture
def categories(runs, monkeypatch):
    """The conditioners of the runs ask for categories that were found without labels."""
    monkeypatch.setattr(type(runs[0].model), "asks", Asks("category", 10))


def test_columns_are_the_classes_and_images_those_of_a_grid_of_labels(runs, table, tmp_path, call, monkeypatch):
    monkeypatch.setattr("genprior.runs.run.Run.classes", [f"class {k}" for k in range(10)])
    drawing = drawn(SupervisedGrid, runs, seed=5, noises=10)
    assert drawing.arrays["labels"].tolist() == [f"class {k}" for k in range(10)]
    assert set(drawing.arrays["labels"]) <= {*texts(drawing)}
    for images, label in zip(drawing.arrays["images"], ("fixed prior", "learned prior"), strict=True):
        path = tmp_path / f"{label}.png"
        done = call("sample", table / label / "seed-0", "--grid", "labels", "-n", 100, "--seed", 5, "--to", path)
        assert done.exit_code == 0, done.output
        with Image.open(path) as image:
            grid = np.asarray(image)[-102:, :, :1]  # below the names of the columns
        for i in range(10):
            for j in range(10):
                assert np.array_equal(grid[2 + 10 * i :, 2 + 10 * j :][:8, :8], images[i, j])


def test_fewer_noises_are_the_first_of_more(runs):
    many = drawn(SupervisedGrid, runs, seed=3, noises=23).arrays["images"]
    assert many.shape[:3] == (2, 23, 10)
    for noises in (1, 2, 10, 11):
        assert np.array_equal(drawn(SupervisedGrid, runs, seed=3, noises=noises).arrays["images"], many[:, :noises])
    assert len({row.tobytes() for row in many[0]}) == 23  # no noise comes twice


@pytest.mark.parametrize("part", [SupervisedGrid, UnsupervisedGrid])
def test_columns_of_categories_are_called_categories(part, runs, categories, monkeypatch):
    monkeypatch.setattr("genprior.runs.run.Run.classes", [f"class {k}" for k in range(10)])
    drawing = drawn(part, runs, noises=2)
    assert drawing.arrays["labels"].tolist() == [f"category {k}" for k in range(10)]
    assert {*drawing.arrays["labels"]} <= {*texts(drawing)}
    assert drawing.arrays["kind"] == "category"


def test_labels_in_a_figure_of_categories_are_called_labels(runs, monkeypatch):
    arrays = drawn(UnsupervisedGrid, runs, noises=2).arrays
    assert arrays["labels"].tolist() == [f"label {k}" for k in range(10)] and arrays["kind"] == "label"
    assert np.array_equal(arrays["images"], drawn(SupervisedGrid, runs, noises=2).arrays["images"])
    for run in runs:
        monkeypatch.setitem(vars(run), "classes", ["too", "few", "names"])
    for part in (SupervisedGrid, UnsupervisedGrid):
        assert drawn(part, runs, noises=1).arrays["labels"].tolist() == [f"label {k}" for k in range(10)]


def test_models_that_are_asked_for_something_else_are_refused(runs, monkeypatch):
    class Other:
        label = "other"

        def __init__(self, asks):
            self.model = SimpleNamespace(asks=asks)

    with pytest.raises(PlanError) as caught:
        drawn(SupervisedGrid, [runs[0], Other(Asks("category", 7))])
    assert str(caught.value) == (
        "the model of row 'other' can be asked for 7 of the kind 'category', and that of row 'fixed prior' for 10 of "
        "the kind 'label'; a figure shows runs that have the same: select rows with --rows"
    )
    with pytest.raises(
        PlanError, match="the model of row 'other' can be asked for nothing, and this figure shows images"
    ):
        drawn(SupervisedGrid, [Other(Asks())])


# ---------------------------------------------------------------------------------------------------------------------
# Maps of codes
# ---------------------------------------------------------------------------------------------------------------------


def test_the_legend_of_categories_says_so(runs, categories):
    drawing = drawn(UnsupervisedCodes, runs, points=12, perplexity=3)
    true, requested = drawing.picture.legends
    assert [each.get_title().get_text() for each in (true, requested)] == ["true label", "requested category"]
    assert [text.get_text() for text in true.get_texts()] == [f" {k}" for k in range(10)]
    assert [text.get_text() for text in requested.get_texts()] == [f" category {k}" for k in range(10)]


def test_the_prior_is_asked_for_every_label_though_there_are_fewer_codes(runs):
    arrays = drawn(SupervisedCodes, runs, points=5, perplexity=2).arrays
    assert arrays["image_codes"].shape == (2, 5, 13) and arrays["image_places"].shape == (2, 5, 2)
    assert arrays["prior_codes"].shape == (2, 10, 13) and arrays["prior_places"].shape == (2, 10, 2)
    assert arrays["asked_labels"].tolist() == [[*range(10)]] * 2


def test_scikit_learn_takes_seeds_modulo_its_number_of_them(runs):
    arrays = drawn(SupervisedCodes, runs, seed=2**32 + 3, points=12, perplexity=3).arrays
    found = TSNE(perplexity=3, init="pca", random_state=3).fit_transform(arrays["image_codes"][0].astype(float))
    assert np.allclose(found, arrays["image_places"][0], atol=1e-3)
    # All else is drawn by the whole seed.
    assert not np.array_equal(
        arrays["image_codes"], drawn(SupervisedCodes, runs, seed=3, points=12, perplexity=3).arrays["image_codes"]
    )


def test_maps_are_scikit_learns_of_the_models_codes(runs):
    drawing = drawn(SupervisedCodes, runs, seed=2, points=40, perplexity=5)
    arrays = drawing.arrays
    assert arrays["image_codes"].shape == arrays["prior_codes"].shape == (2, 40, 13)
    (legend,) = drawing.picture.legends  # both maps have the same labels
    assert legend.get_title().get_text() == "true label /\nrequested label"
    for i, run in enumerate(runs):
        codes, labels = arrays["image_codes"][i], arrays["true_labels"][i]
        test = run.images("test")
        known = torch.nn.functional.one_hot(test.labels, 10).float()
        with torch.no_grad():
            expected = run.model.encoder(images_to_float(test.images), known).mean.numpy()
        # Each code is that of a held-out image of its label, and no image is shown twice.
        distances = np.abs(codes[:, None] - expected[None]).max(2)
        nearest = distances.argmin(1)
        assert distances.min(1).max() < 1e-5 and len({*nearest}) == 40
        assert np.array_equal(test.labels.numpy()[nearest], labels)
        for kind in ("image", "prior"):
            found = TSNE(perplexity=5, init="pca", random_state=2).fit_transform(
                arrays[f"{kind}_codes"][i].astype(float)
            )
            assert np.allclose(found, arrays[f"{kind}_places"][i], atol=1e-3)
    assert np.array_equal(arrays["asked_labels"], np.tile(np.arange(40) % 10, (2, 1)))
    # The fixed prior is the label itself followed by noise.
    assert np.array_equal(arrays["prior_codes"][0, :, :10].argmax(1), np.arange(40) % 10)


@pytest.mark.parametrize(
    ("settings", "change", "error", "message"),
    [
        ({"points": 20}, None, DataError, "has 20 codes of row 'fixed prior', and perplexity = 30 needs more; set a"),
        ({}, ("encode", None), PlanError, "row 'fixed prior' has no encoder, so its images have no codes; select rows"),
        ({}, ("draw_codes", None), PlanError, "row 'fixed prior' has no prior that draws codes; select rows with --"),
        ({}, ("encode", torch.zeros), DataError, "the codes of row 'fixed prior' are all the same or not finite, so"),
    ],
)  # fmt: skip
def test_codes_that_have_no_map(settings, change, error, message, runs, monkeypatch):
    if change is not None:
        name, make = change
        monkeypatch.setattr(runs[0].model, name, lambda batch: make(len(batch.x), 13) if make else None)
    with pytest.raises(error) as caught:
        drawn(SupervisedCodes, runs, **({"points": 40} | settings))
    assert message in str(caught.value)


# ---------------------------------------------------------------------------------------------------------------------
# Text
# ---------------------------------------------------------------------------------------------------------------------

INKS = ("white", "red", "green", "blue")


class Painter:
    """A run whose images are one grey for each text and noise, and whose captions speak of inks."""

    seed, classes = 0, []

    def __init__(self, label, captions, attributes=()):
        self.label, self.captions, self.attributes, self.asked = label, captions, attributes, []

    def images(self, split):
        assert split == "test"
        n = len(self.captions)
        images = torch.zeros(n, 1, 4, 4, dtype=torch.uint8)
        return ImageSet(images, torch.zeros(n, dtype=torch.int64), (), tuple(self.captions), tuple(self.attributes))

    def sample(self, n, *, seed=0, label=None, text=None):
        self.asked.append(text)
        grey = torch.arange(n, dtype=torch.uint8) + 10 * len(text) + seed
        return grey[:, None, None, None].expand(n, 1, 4, 4)


def painters(*captions, attributes=()):
    return [Painter(label, captions, attributes) for label in ("fixed prior", "learned prior")]


def test_sentences_are_held_out_captions_and_are_written_beside_their_images():
    runs = painters(("a red one", "one"), ("a seven",), ("a red one",), ("a white nine",))
    drawing = drawn(ImagesOfSentences, runs, seed=4, sentences=2, noises=3)
    assert drawing.arrays["sentences"].tolist() == ["a red one", "a seven"]
    assert runs[0].asked == runs[1].asked == ["a red one", "a seven"]
    assert drawing.arrays["images"].shape == (2, 2, 3, 4, 4, 1)
    assert drawing.arrays["images"][1, :, :, 0, 0, 0].tolist() == [[94, 95, 96], [74, 75, 76]]
    assert texts(drawing) == ["fixed prior", "a red one", "a seven", "learned prior"]


def test_sentences_may_be_given():
    runs = painters()
    drawing = drawn(ImagesOfSentences, runs, text=("a blue flower",))
    assert drawing.arrays["images"].shape[:3] == (2, 1, 6) and {*runs[0].asked} == {"a blue flower"}


def test_captions_are_needed_where_no_sentence_is_given():
    with pytest.raises(DataError, match="and the data of row 'fixed prior' has none; give sentences with --text"):
        drawn(ImagesOfSentences, painters())


def test_a_run_without_text_is_refused(runs):
    with pytest.raises(PlanError, match="text"):
        drawn(ImagesOfSentences, runs, text=("a seven",))


def test_the_word_that_is_replaced_is_the_images_own_colour():
    digits = Attribute("digit", ("seven", "one"), torch.tensor([0, 1]))
    inks = Attribute("ink", INKS, torch.tensor([2, 1]))
    runs = painters(("on white, a seven", "on white, a green seven"), ("a red one",), attributes=[digits, inks])
    drawing = drawn(ColourSweep, runs, noises=2)
    assert drawing.arrays["words"].tolist() == [*INKS]
    assert drawing.arrays["sentences"].tolist() == ["on white, a {} seven"]
    assert runs[0].asked == [f"on white, a {ink} seven" for ink in INKS]
    assert drawing.arrays["images"].shape == (2, 1, 2, 4, 4, 4, 1)
    # Columns are words, rows are noise.
    first = 10 * len("on white, a white seven")
    assert drawing.arrays["images"][0, 0, :, :2, 0, 0, 0].tolist() == [[first, first - 20], [first + 1, first - 19]]
    assert texts(drawing)[:5] == ["fixed prior: on white, a … seven", *INKS]


@pytest.mark.parametrize("words", [("red",), ("white",), ("teal",), ("teal", "red"), ("red", "blue")])
def test_the_word_that_is_replaced_is_the_images_own_whatever_the_words_are(words):
    digits = Attribute("digit", ("seven", "one"), torch.tensor([0, 1]))
    inks = Attribute("ink", INKS, torch.tensor([0, 2]))
    grounds = Attribute("background", INKS, torch.tensor([1, 3]))
    runs = painters(("a white seven on red",), ("a green one on blue",), attributes=[digits, inks, grounds])
    arrays = drawn(ColourSweep, runs, words=words, noises=1).arrays
    assert arrays["sentences"].tolist() == ["a {} seven on red"] and arrays["words"].tolist() == [*words]


def test_the_attribute_whose_word_is_replaced_has_most_of_the_words():
    inks = Attribute("ink", INKS, torch.tensor([0]))
    strokes = Attribute("stroke", ("thin", "thick"), torch.tensor([1]))
    runs = painters(("a thick white seven",), attributes=[inks, strokes])
    assert drawn(ColourSweep, runs, words=("thin",), noises=1).arrays["sentences"].tolist() == ["a {} white seven"]
    words = ("thin", "blue", "thick")
    assert drawn(ColourSweep, runs, words=words, noises=1).arrays["sentences"].tolist() == ["a {} white seven"]
    runs = painters(("a seven",), attributes=[inks, strokes])
    with pytest.raises(DataError, match="no caption of row 'fixed prior' has one of: white, red, green, blue. Give"):
        drawn(ColourSweep, runs, words=("red",))


def test_without_attributes_the_words_are_those_of_the_paper():
    runs = painters(("a red bird, reddish",), ("this flower has pink petals",))
    arrays = drawn(ColourSweep, runs, noises=1).arrays
    assert arrays["words"].tolist() == ["pink", "red", "yellow", "orange", "purple", "blue", "white", "green", "black"]
    assert arrays["sentences"].tolist() == ["a {} bird, reddish"]


def test_words_and_sentences_may_be_given():
    runs = painters()
    drawing = drawn(ColourSweep, runs, text=("a {} flower", "{}"), words=("teal", "sunny (warm)"), noises=1)
    assert runs[1].asked == ["a teal flower", "a sunny (warm) flower", "teal", "sunny (warm)"]
    assert drawing.arrays["images"].shape[:4] == (2, 2, 1, 2)
    assert len(drawing.picture.axes) == 4
    runs = painters(("the sunny (warm) day",), ("a teal sea",))
    assert drawn(ColourSweep, runs, words=("teal", "violet"), noises=1).arrays["sentences"].tolist() == ["a {} sea"]


def test_no_caption_has_a_word():
    with pytest.raises(DataError) as caught:
        drawn(ColourSweep, painters(("a seven",)), words=("teal", "violet"))
    assert str(caught.value) == (
        "figure 'fig15_colours' replaces a word of a held-out caption, and no caption of row 'fixed prior' has one of: "
        "teal, violet. Give a sentence with {} in the place of the word, as in --text 'a {} flower', or other words "
        "with --set 'words=[\"...\"]'"
    )


@pytest.mark.parametrize("sentence", ["a flower", "{} and {}"])
def test_a_sentence_has_one_place(sentence):
    with pytest.raises(ValidationError, match="needs {} once, where the words are put, as in 'a {} flower'"):
        ColourSweep.Config(text=(sentence,))


# ---------------------------------------------------------------------------------------------------------------------
# The images of a run
# ---------------------------------------------------------------------------------------------------------------------


def test_a_run_reads_its_data_once(runs, monkeypatch):
    held_out = runs[0].images("test")
    assert torch.equal(held_out.images, runs[0].plan.data.make().load("test").images)
    monkeypatch.setattr(type(runs[0].plan.data.make()), "load", lambda dataset, split: pytest.fail("read again"))
    assert runs[0].images("test") is held_out


def test_a_run_on_images_that_have_changed_is_refused(table, tmp_path):
    folder = tmp_path / "seed-0"
    shutil.copytree(table / "fixed prior" / "seed-0", folder)
    facts = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(facts | {"data_hash": "0123"}))
    with pytest.raises(
        RunError, match=f"the images or captions of the run {folder} have changed: their hash was 0123, and is None"
    ):
        load_run(folder).images("test")


def test_codes_of_different_widths_are_filled_with_nan(runs, monkeypatch):
    encode = runs[1].model.encode
    monkeypatch.setattr(runs[1].model, "encode", lambda batch: encode(batch)[:, :5])
    codes = drawn(SupervisedCodes, runs, points=12, perplexity=3).arrays["image_codes"]
    assert codes.shape == (2, 12, 13)
    assert np.isfinite(codes[0]).all() and np.isfinite(codes[1, :, :5]).all() and np.isnan(codes[1, :, 5:]).all()
