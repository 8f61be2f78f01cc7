"""The exporter of InfoGAN's codes: what each row and column shows, and which models it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from genprior.engine.build import build_model
from genprior.errors import DataError, PlanError
from genprior.parts import DataInfo, Decoder, PartConfig
from genprior_std.conditioners.infogan import InfoGAN
from genprior_std.conditioners.none import NoCondition
from genprior_std.exporters.code_grid import CodeGrid
from genprior_std.games.nonsaturating import NonSaturating
from genprior_std.models.gan import GenerativeAdversarialNetwork
from genprior_std.networks.image_mlp import MlpImageCritic
from genprior_std.priors.categorical_gaussian import CategoricalGaussian
from genprior_std.priors.gaussian import Gaussian

SIZE, MIDDLE = 4, 127.5


class ShowsCodes(Decoder):
    """An image whose k-th pixel is the k-th number of the code, over three, and the rest black; d is at most 16."""

    name = "shows_codes_of_this_test"

    class Config(PartConfig):
        """No settings."""

    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.gain = torch.nn.Parameter(torch.tensor(1 / 3))
        self.rows = []
        self.modes = set()

    def forward(self, z, known):
        self.rows.append(len(z))
        self.modes.add(self.training)
        pixels = torch.cat([self.gain * z, z.new_full((len(z), 16 - z.shape[1]), -1)], 1)
        return pixels.clamp(-1, 1).view(-1, 1, 4, 4)


def gan(conditioner, classes=(), code=10):
    config = GenerativeAdversarialNetwork.Config(
        code_size=code,
        prior=CategoricalGaussian.Config() if isinstance(conditioner, InfoGAN.Config) else Gaussian.Config(),
        decoder=ShowsCodes.Config(),
        image_critic=MlpImageCritic.Config(hidden=(4,)),
        game=NonSaturating.Config(),
        conditioner=conditioner,
    )
    return build_model(config, DataInfo((1, 4, 4), classes), 0)


def shown(path, columns):
    """The pixels of each image, [rows, columns, 16]."""
    with Image.open(path) as image:
        assert image.format == "PNG"
        picture = np.asarray(image)
    step = SIZE + 2
    rows = (picture.shape[0] - 2) // step
    assert picture.shape == (rows * step + 2, columns * step + 2, 3)
    tiles = [[picture[2 + r * step :, 2 + c * step :][:SIZE, :SIZE, 0] for c in range(columns)] for r in range(rows)]
    return np.array(tiles).reshape(rows, columns, 16).astype(float)


def write(model, path, n=1, seed=3, label=None, **settings):
    CodeGrid(CodeGrid.Config(**settings)).write(model, path, n=n, seed=seed, label=label)
    return path


def test_rows_are_categories_and_columns_values_and_panels_codes(tmp_path):
    model = gan(InfoGAN.Config(categorical=(3, 2), continuous=2), code=10)
    tiles = shown(write(model, tmp_path / "codes.png", columns=5), 5)
    assert tiles.shape == (6, 5, 16)
    values = np.array([-2, -1, 0, 1, 2]) / 3 * MIDDLE + MIDDLE
    for panel in (0, 1):
        rows = tiles[3 * panel : 3 * panel + 3]
        one_hot = (np.eye(3) / 3 * MIDDLE + MIDDLE)[:, None]
        assert np.abs(rows[..., :3] - one_hot).max() <= 0.51
        assert np.abs(rows[..., 5 + panel] - values).max() <= 0.51
        # All else of a row is as in its first column: the other codes and the noise.
        others = [place for place in range(16) if place != 5 + panel]
        assert (rows[..., others] == rows[:, :1, others]).all()
        # Each row has noise of its own.
        assert len({tuple(row[0, 7:10]) for row in rows}) == 3
    assert (tiles[:3, 0, 7:10] == tiles[3:, 0, 7:10]).all()


def test_it_writes_all_categories_as_often_as_n_images_take(tmp_path):
    model = gan(InfoGAN.Config(categorical=(3,), continuous=1))
    for n, turns in ((1, 1), (12, 1), (13, 2), (25, 3)):
        tiles = shown(write(model, tmp_path / "codes.png", n=n, columns=4), 4)
        assert len(tiles) == 3 * turns
        assert tiles[:, 0, :3].argmax(1).tolist() == [0, 1, 2] * turns
        assert len({tuple(row[0, 4:10]) for row in tiles}) == 3 * turns


def test_the_default_is_the_papers_range_and_ten_columns(tmp_path):
    tiles = shown(write(gan(InfoGAN.Config(categorical=(2,), continuous=1)), tmp_path / "codes.png"), 10)
    assert np.abs(tiles[0, :, 2] - (np.linspace(-2, 2, 10) / 3 + 1) * MIDDLE).max() <= 0.51


def test_a_supervised_model_shows_its_labels(tmp_path):
    model = gan(InfoGAN.Config(categorical=(3,), continuous=1, supervised=True), classes=("a", "b", "c"))
    tiles = shown(write(model, tmp_path / "codes.png", columns=2), 2)
    assert tiles[:, 0, :3].argmax(1).tolist() == [0, 1, 2]


def test_it_works_in_pieces(tmp_path):
    model = gan(InfoGAN.Config(categorical=(2,), continuous=1))
    tiles = shown(write(model, tmp_path / "codes.png", n=1204, columns=2), 2)
    assert len(tiles) == 602 and max(model.decoder.rows) == 500
    assert tiles[:, 0, :2].argmax(1).tolist() == [0, 1] * 301


def test_the_seed_decides_and_nothing_is_disturbed(tmp_path):
    model = gan(InfoGAN.Config(categorical=(3,), continuous=1)).train()
    before, contents = torch.get_rng_state(), []
    for number, seed in enumerate((3, 3, 4)):
        contents.append(write(model, tmp_path / f"{number}.png", seed=seed).read_bytes())
    assert contents[0] == contents[1] != contents[2]
    assert torch.equal(torch.get_rng_state(), before)
    assert model.training and model.decoder.training and model.decoder.modes == {False}
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize(
    ("conditioner", "has"),
    [
        (InfoGAN.Config(categorical=(3,)), "categorical = [3] and continuous = 0"),
        (InfoGAN.Config(categorical=(), continuous=2), "categorical = [] and continuous = 2"),
        (NoCondition.Config(), "conditioner 'none'"),
    ],
)
def test_a_model_without_both_kinds_of_codes_is_refused(tmp_path, conditioner, has):
    with pytest.raises(PlanError) as caught:
        write(gan(conditioner), tmp_path / "x.png")
    assert str(caught.value) == (
        "'code_grid' shows a category a row and a continuous code from left to right, and so needs both kinds of "
        f"codes; model 'gan' has {has}. "
        'Train with conditioner = { name = "infogan", categorical = [10], continuous = 2 }, '
        "or use exporter 'grid', or 'label_grid' for a model that takes labels"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_label_and_no_images_are_refused(tmp_path):
    model = gan(InfoGAN.Config(categorical=(3,), continuous=1))
    with pytest.raises(PlanError, match="shows every category, and label 3 was requested; use 'grid' for one label"):
        write(model, tmp_path / "x.png", label=3)
    with pytest.raises(DataError, match="0 images were asked for; ask for at least 1"):
        write(model, tmp_path / "x.png", n=0)
    assert list(tmp_path.iterdir()) == []
