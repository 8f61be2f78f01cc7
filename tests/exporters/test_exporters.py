"""Exporters: the content of their files, and that they have no side effects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from genprior.engine.sampling import generate
from genprior.errors import DataError, PlanError
from genprior.hookspecs import hookimpl
from genprior.parts import Condition, Exporter, Model, PartConfig
from genprior.registry import Origin, Registry, installed
from genprior.runs.export import exporter_for
from genprior_std.exporters.grid import Grid
from genprior_std.exporters.label_grid import LabelGrid
from genprior_std.exporters.npz import Npz


class Painter(Model):
    """Red is the label, green is the noise, blue tells whether it was in evaluation mode."""

    name = "painter"
    Config = PartConfig

    def __init__(self, labelled=True):
        super().__init__(PartConfig())
        self.gain = torch.nn.Parameter(torch.ones(()))
        self.frozen = torch.nn.Dropout().eval()
        self.labelled = labelled
        self.largest = 0

    def phases(self):
        return ()

    def condition(self, like, y=None):
        if y is not None and not self.labelled:
            raise PlanError("asks for no label")
        y = torch.randint(10, (len(like),), device=like.device) if y is None else y
        return Condition(like.new_zeros(len(like), 0), y[:, None].float())

    def generate(self, condition):
        asked = condition.asked
        self.largest = max(self.largest, len(asked))
        noise = torch.rand(len(asked), device=asked.device) * self.gain
        blue = torch.full_like(noise, -1.0 if self.training or self.frozen.training else 1.0)
        pixels = torch.stack([asked[:, 0] / 5 - 1, noise, blue], dim=1)
        return pixels[:, :, None, None].expand(-1, -1, 4, 4)


def tiles(path, columns, size=4, padding=2):
    """The images of a grid, uint8 [rows, columns, size, size, 3]."""
    with Image.open(path) as image:
        picture = np.asarray(image)
    step = size + padding
    rows = (picture.shape[0] - padding) // step
    assert picture.shape == (rows * step + padding, columns * step + padding, 3)
    cut = [
        [picture[padding + r * step :, padding + c * step :][:size, :size] for c in range(columns)] for r in range(rows)
    ]
    return np.array(cut)


@pytest.mark.parametrize("exporter", [Grid, LabelGrid, Npz])
def test_it_disturbs_neither_model_nor_generator(exporter, tmp_path):
    model = Painter().train()
    model.frozen.eval()
    torch.manual_seed(7)
    before = torch.get_rng_state()
    exporter(exporter.Config()).write(model, tmp_path / "out", n=20, seed=1, label=None)
    assert torch.equal(before, torch.get_rng_state())
    assert model.training and not model.frozen.training
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("exporter", [Grid, LabelGrid, Npz])
def test_the_seed_decides(exporter, tmp_path):
    contents = []
    for number, seed in enumerate((3, 3, 4)):
        torch.manual_seed(number)
        path = tmp_path / f"{number}.png"
        exporter(exporter.Config()).write(Painter(), path, n=20, seed=seed, label=None)
        contents.append(np.load(path)["images"].tobytes() if exporter is Npz else path.read_bytes())
    assert contents[0] == contents[1] != contents[2]


def test_a_grid_shows_the_images_in_order(tmp_path):
    path = tmp_path / "grid.png"
    Grid(Grid.Config()).write(Painter(), path, n=20, seed=5, label=None)
    shown = tiles(path, 10).reshape(20, 4, 4, 3)
    assert np.array_equal(shown, generate(Painter(), 20, seed=5).permute(0, 2, 3, 1).numpy())
    assert (shown[..., 2] == 255).all()


def test_a_grid_of_one_label(tmp_path):
    path = tmp_path / "grid.png"
    Grid(Grid.Config(columns=3)).write(Painter(), path, n=6, seed=5, label=5)
    shown = tiles(path, 3)
    # 5 / 5 - 1 = 0 is the middle of 0..255.
    assert set(np.unique(shown[..., 0])) == {128}


def test_columns_are_labels_and_rows_are_noise(tmp_path):
    path = tmp_path / "labels.png"
    LabelGrid(LabelGrid.Config()).write(Painter(), path, n=30, seed=0, label=None)
    shown = tiles(path, 10)
    assert shown.shape == (3, 10, 4, 4, 3)
    label, noise = shown[..., 0, 0, 0].astype(int), shown[..., 0, 0, 1].astype(int)
    # Halves may be rounded either way in single precision.
    assert (abs(label - np.arange(10) / 5 * 127.5) <= 0.51).all()
    assert (noise == noise[:, :1]).all()
    assert len(set(noise[:, 0])) == 3


def test_label_grid_fills_its_last_row_and_takes_fewer_labels(tmp_path):
    path = tmp_path / "labels.png"
    LabelGrid(LabelGrid.Config(labels=4)).write(Painter(), path, n=9, seed=0, label=None)
    assert tiles(path, 4).shape[:2] == (3, 4)


def test_label_grid_works_in_batches(tmp_path):
    model = Painter()
    LabelGrid(LabelGrid.Config(labels=1)).write(model, tmp_path / "labels.png", n=1100, seed=0, label=None)
    assert model.largest == 500
    assert len(np.unique(tiles(tmp_path / "labels.png", 1)[..., 0, 0, 1])) > 60


def test_label_grid_takes_no_label(tmp_path):
    with pytest.raises(PlanError, match="shows every label, and label 3 was requested; use 'grid' for one label"):
        LabelGrid(LabelGrid.Config()).write(Painter(), tmp_path / "x.png", n=10, seed=0, label=3)


@pytest.mark.parametrize("exporter", [Grid, Npz])
def test_a_model_without_labels_refuses_one(exporter, tmp_path):
    with pytest.raises(PlanError, match="asks for no label"):
        exporter(exporter.Config()).write(Painter(labelled=False), tmp_path / "x", n=10, seed=0, label=3)
    assert list(tmp_path.iterdir()) == []


def test_npz_holds_what_fid_tools_take(tmp_path):
    path = tmp_path / "samples"
    Npz(Npz.Config()).write(Painter(), path, n=12, seed=5, label=None)
    with np.load(path) as arrays:
        assert arrays.files == ["images"]
        assert arrays["images"].dtype == np.uint8
        assert np.array_equal(arrays["images"], generate(Painter(), 12, seed=5).permute(0, 2, 3, 1).numpy())


def test_npz_holds_the_label_that_was_asked(tmp_path):
    path = tmp_path / "samples.npz"
    Npz(Npz.Config()).write(Painter(), path, n=3, seed=5, label=7)
    with np.load(path) as arrays:
        assert arrays["labels"].tolist() == [7, 7, 7] and arrays["labels"].dtype == np.int64
        assert (abs(arrays["images"][..., 0] - 7 / 5 * 127.5) <= 0.51).all()


@pytest.mark.parametrize("exporter", [Grid, LabelGrid, Npz])
def test_no_images_is_refused(exporter, tmp_path):
    with pytest.raises(DataError, match=r"at least 1|at least one"):
        exporter(exporter.Config()).write(Painter(), tmp_path / "x", n=0, seed=0, label=None)
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------------------------------------------------------------
# Which exporter a file's ending means
# ---------------------------------------------------------------------------------------------------------------------


class WebP(Exporter):
    """A plugin's exporter."""

    name = "webp"
    suffixes = (".webp",)

    def write(self, model, path, *, n, seed, label):
        """Nothing."""


class SecondPng(WebP):
    """Another plugin's, of an ending that is taken."""

    name = "second_png"
    suffixes = (".png",)


class SecondWebP(WebP):
    """A third package's, of an ending that a plugin has taken."""

    name = "second_webp"


class LabelledPng(SecondPng):
    """A plugin's, which lays a PNG out by label."""

    name = "labelled_png"
    by_label = True


@pytest.fixture
def offered(monkeypatch):
    """Let these exporters alone be installed: of one plugin, and of others, each with one, after it."""

    class Plugin:
        def __init__(self, parts):
            self.parts = parts

        @hookimpl
        def genprior_parts(self, register):
            for part in self.parts:
                register(part)

    def offer(*parts, others=()):
        registry = Registry()
        registry.add(Plugin(parts), Origin("own", "own 1.0"))
        for part in others:
            registry.add(Plugin([part]), Origin(part.name, f"{part.name} 1.0"))
        monkeypatch.setattr("genprior.runs.export.installed", lambda: registry)

    return offer


def test_an_exporter_is_found_by_the_ending_that_it_states(offered):
    offered(Grid, LabelGrid, Npz, WebP)
    names = [exporter_for(Path(name), by_label=False) for name in ("a.webp", "a.PNG", "a.npz")]
    assert names == ["webp", "grid", "npz"]
    assert exporter_for(Path("a.png"), by_label=True) == "label_grid"


@pytest.mark.parametrize(
    ("path", "by_label", "message"),
    [
        (
            "a.gif",
            False,
            "a.gif ends in '.gif', which is no known format. Possible: .png, .npz, .webp; or name an exporter",
        ),
        ("a.npz", True, "--grid labels needs a picture, but a.npz is an array; give a --to that ends in .png"),
        ("a.webp", True, "but a.webp is a picture of independent images; give a --to that ends in .png"),
    ],
)
def test_an_ending_that_no_exporter_is_for(offered, path, by_label, message):
    offered(Grid, LabelGrid, Npz, WebP)
    with pytest.raises(PlanError) as caught:
        exporter_for(Path(path), by_label=by_label)
    assert message in str(caught.value)


def test_two_exporters_of_one_ending_are_named(offered):
    offered(Grid, LabelGrid, SecondPng)
    with pytest.raises(PlanError, match=r"several exporters write \.png: grid, second_png; name one of them with"):
        exporter_for(Path("a.png"), by_label=False)
    assert exporter_for(Path("a.png"), by_label=True) == "label_grid"


def test_the_exporter_of_the_first_plugin_keeps_its_ending(offered):
    offered(Grid, LabelGrid, Npz, others=[SecondPng, LabelledPng])
    assert exporter_for(Path("a.png"), by_label=False) == "grid"
    assert exporter_for(Path("a.png"), by_label=True) == "label_grid"


def test_a_layout_that_the_first_plugin_lacks_comes_from_another(offered):
    offered(Grid, Npz, others=[LabelledPng])
    assert exporter_for(Path("a.png"), by_label=False) == "grid"
    assert exporter_for(Path("a.png"), by_label=True) == "labelled_png"


@pytest.mark.parametrize("others", [[WebP, SecondWebP], [SecondWebP, WebP]])
def test_exporters_of_two_other_plugins_are_named(offered, others):
    offered(Grid, others=others)
    with pytest.raises(PlanError, match=r"several exporters write \.webp: second_webp, webp; name one of them with"):
        exporter_for(Path("a.webp"), by_label=False)


def test_the_standard_parts_are_the_first_plugin():
    registry = installed()
    assert registry.plugins[0] == registry.origin(Grid)


def test_a_grid_of_labels_has_a_column_for_each_class_of_the_data():
    assert [LabelGrid.for_classes(n).labels for n in (0, 3)] == [10, 3]
    assert Grid.for_classes(3) == Grid.Config()
