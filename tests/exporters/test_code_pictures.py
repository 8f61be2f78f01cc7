"""Pictures of the space of codes: their layout, and which runs write them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from PIL import Image
from sklearn.decomposition import PCA

import genprior
from genprior.data.images import images_to_float
from genprior.errors import DataError
from genprior.pictures import codes as code_pictures
from genprior.runs.trainer import Trainer
from genprior_std.models.aae import AdversarialAutoencoder
from genprior_std.models.vae import VariationalAutoencoder

PLAIN = ["model.code_size=2"]


def picture_of(path):
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image)


def noise(*shape, seed=0):
    return torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def tile(picture, row, column, size):
    step = size + 2
    return picture[2 + step * row : 2 + step * row + size, 2 + step * column : 2 + step * column + size]


def as_pixels(image):
    """What an image uint8 [c, h, w] looks like in a picture."""
    return image.expand(3, -1, -1).permute(1, 2, 0).numpy()


@pytest.fixture
def figures(monkeypatch):
    """Every figure that is saved."""
    drawn, save = [], Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *args, **kwargs: drawn.append(self) or save(self, *args, **kwargs)
    )
    return drawn


def test_clusters_stand_in_rows_behind_their_heads(tmp_path):
    heads, members = (
        noise(3, 1, 5, 5, seed=1),
        [noise(4, 1, 5, 5, seed=2), noise(0, 1, 5, 5), noise(2, 1, 5, 5, seed=3)],
    )
    code_pictures.draw_clusters(heads, members, tmp_path / "clusters.png")
    picture = picture_of(tmp_path / "clusters.png")
    assert picture.shape == (3 * 7 + 2, 5 * 7 + 2, 3)
    for k in range(3):
        assert np.array_equal(tile(picture, k, 0, 5), as_pixels(heads[k]))
        for j in range(4):
            there = as_pixels(members[k][j]) if j < len(members[k]) else np.zeros((5, 5, 3))
            assert np.array_equal(tile(picture, k, j + 1, 5), there)
    edges = np.r_[0:2, 7:9, 14:16, 21:23]
    assert not picture[edges].any() and not picture[:, :2].any() and not picture[:, 7:9].any()


@pytest.mark.parametrize("stacked", [True, False])
def test_clusters_without_heads_have_no_column_for_them(tmp_path, stacked):
    members = noise(2, 3, 3, 4, 4)
    code_pictures.draw_clusters(None, members if stacked else list(members), tmp_path / "clusters.png")
    picture = picture_of(tmp_path / "clusters.png")
    assert picture.shape == (2 * 6 + 2, 3 * 6 + 2, 3)
    assert np.array_equal(tile(picture, 1, 2, 4), as_pixels(members[1, 2]))


def test_a_walk_is_a_grid_of_its_rows(tmp_path):
    images = noise(3, 5, 1, 4, 4)
    code_pictures.draw_walk(images, tmp_path / "walk.png")
    picture = picture_of(tmp_path / "walk.png")
    assert picture.shape == (3 * 6 + 2, 5 * 6 + 2, 3)
    for row, column in ((0, 0), (0, 4), (1, 2), (2, 4)):
        assert np.array_equal(tile(picture, row, column, 4), as_pixels(images[row, column]))


def test_codes_are_drawn_by_class_beside_the_prior(tmp_path, figures):
    torch.manual_seed(0)
    codes, prior, labels = torch.randn(60, 2), 3 * torch.randn(40, 2), torch.arange(60) % 3
    names = ("$cat", "_dog", "bird")
    code_pictures.draw_codes(codes, labels, names, tmp_path / "codes.png", prior, ("first", "second"))
    left, right = figures[0].axes
    assert [points.get_offsets().shape for points in left.collections] == [(20, 2)] * 3
    colours = [tuple(points.get_facecolor()[0]) for points in left.collections]
    assert len(set(colours)) == 3 and colours[0] == to_rgba("tab:blue")
    for k, points in enumerate(left.collections):
        assert np.asarray(points.get_offsets()) == pytest.approx(codes[labels == k].double().numpy())
    assert np.asarray(right.collections[0].get_offsets()) == pytest.approx(prior.double().numpy())
    assert left.get_xlim() == right.get_xlim() and left.get_ylim() == right.get_ylim()
    assert left.get_aspect() == right.get_aspect() == 1
    low, high = left.get_xlim()
    assert low < min(codes[:, 0].min(), prior[:, 0].min()) and high > max(codes[:, 0].max(), prior[:, 0].max())
    assert [text.get_text().strip() for text in figures[0].legends[0].get_texts()] == list(names)
    assert (left.get_xlabel(), left.get_ylabel()) == ("first", "second")
    assert picture_of(tmp_path / "codes.png").std() > 0


@pytest.mark.parametrize("classes", [0, 1, 10, 25])
def test_codes_of_any_number_of_classes_without_a_prior(tmp_path, figures, classes):
    torch.manual_seed(0)
    names = [str(k) for k in range(classes)]
    code_pictures.draw_codes(torch.randn(50, 2), torch.arange(50) % max(classes, 1), names, tmp_path / "codes.png")
    (axis,) = figures[0].axes
    assert len(axis.collections) == max(classes, 1)
    assert len({tuple(points.get_facecolor()[0]) for points in axis.collections}) == max(classes, 1)
    assert len(figures[0].legends) == (classes > 0)


def test_a_picture_of_codes_is_a_function_of_them(tmp_path):
    torch.manual_seed(0)
    codes, labels = torch.randn(30, 2), torch.arange(30) % 2
    for name in ("a", "b"):
        code_pictures.draw_codes(codes, labels, ("x", "y"), tmp_path / f"{name}.png", codes)
    code_pictures.draw_codes(-codes, labels, ("x", "y"), tmp_path / "c.png", codes)
    a, b, c = ((tmp_path / f"{name}.png").read_bytes() for name in "abc")
    assert a == b != c


def test_the_principal_plane_is_that_of_scikit_learn():
    torch.manual_seed(0)
    codes = torch.randn(200, 5, dtype=torch.float64) * torch.tensor([0.3, 2.0, 0.5, 1.0, 0.1]) + 4
    plane = code_pictures.principal_plane(codes)
    theirs = PCA(2).fit(codes.numpy())
    signs = np.sign(theirs.components_[np.arange(2), np.abs(theirs.components_).argmax(1)])
    assert plane.axes.T.numpy() == pytest.approx(signs[:, None] * theirs.components_)
    assert plane.coordinates(codes).numpy() == pytest.approx(signs * theirs.transform(codes.numpy()))
    mirrored = code_pictures.principal_plane(-codes)
    assert mirrored.axes.numpy() == pytest.approx(plane.axes.numpy())


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda path: code_pictures.draw_codes(torch.zeros(3, 5), torch.zeros(3), (), path), r"the codes are \[3, 5\]"),
        (lambda path: code_pictures.draw_codes(torch.zeros(0, 2), torch.zeros(0), (), path), r"the codes are \[0, 2\]"),
        (
            lambda path: code_pictures.draw_codes(torch.zeros(3, 2), torch.zeros(3), (), path, torch.zeros(2, 3)),
            r"the samples of the prior are \[2, 3\]",
        ),
        (
            lambda path: code_pictures.draw_codes(torch.zeros(3, 2), torch.tensor([0, 1, 2]), ("a", "b"), path),
            r"3 codes in 2 classes needs a label from 0 to 1 for each; got labels \[3\]",
        ),
        (
            lambda path: code_pictures.draw_walk(noise(4, 1, 4, 4), path),
            r"images \[rows, columns, c, h, w\]; got torch.uint8",
        ),
        (
            lambda path: code_pictures.draw_clusters(noise(3, 1, 4, 4), noise(2, 5, 1, 4, 4), path),
            "got 3 heads and the images of 2 clusters",
        ),
        (
            lambda path: code_pictures.draw_clusters(None, noise(2, 0, 1, 4, 4), path),
            "needs an image in at least one; all 2 are empty",
        ),
        (lambda path: code_pictures.principal_plane(torch.zeros(1, 4)), r"at least two codes .* got \[1, 4\]$"),
        (
            lambda path: code_pictures.principal_plane(torch.full((3, 4), torch.nan)),
            r"got \[3, 4\] with numbers that are not finite",
        ),
    ],
)
def test_what_cannot_be_drawn_is_refused(tmp_path, draw, message):
    with pytest.raises(DataError, match=message):
        draw(tmp_path / "x.png")
    assert list(tmp_path.iterdir()) == []


def trained(tiny, folder, *settings):
    trainer = Trainer(genprior.load_recipe(tiny, rows=["AAE"], settings=[*settings]).plans[0], 0, folder)
    trainer.run()
    return trainer, {path.name for path in (folder / "samples").iterdir()}


def test_a_run_with_codes_in_the_plane_shows_them_and_the_walk(tiny, tmp_path, figures):
    trainer, made = trained(tiny, tmp_path / "run", *PLAIN)
    assert {"codes.png", "walk.png"} <= made and "clusters.png" not in made
    model, test = trainer.model.eval(), trainer.images("test")
    with torch.no_grad():
        codes = model.encoder(images_to_float(test.images), torch.zeros(len(test.images), 0)).mean
        z = model.prior.walk(20, codes)
        images = model.decoder(z.flatten(0, 1), torch.zeros(400, 0)).unflatten(0, (20, 20))
    (figure,) = (figure for figure in figures if figure.axes[0].get_title() == "codes of images")
    left, right = figure.axes
    shown = np.concatenate([np.ma.getdata(points.get_offsets()) for points in left.collections])
    expected = torch.cat([codes[test.labels == k] for k in range(10)]).numpy()
    assert len(shown) == len(test.images) <= 2000
    assert shown == pytest.approx(expected, abs=1e-5)
    assert right.collections[0].get_offsets().shape == (len(test.images), 2)
    assert (left.get_xlabel(), left.get_ylabel()) == ("$z_1$", "$z_2$")
    picture = picture_of(tmp_path / "run" / "samples" / "walk.png")
    assert picture.shape == (20 * 10 + 2, 20 * 10 + 2, 3)
    for row, column in ((0, 0), (0, 19), (7, 3), (19, 19)):
        bytes_of = (images[row, column, 0].numpy() + 1) * 127.5
        assert np.abs(tile(picture, row, column, 8)[..., 0] - bytes_of).max() <= 0.51


def test_such_pictures_are_a_function_of_the_run(tiny, tmp_path):
    for name in ("a", "b"):
        trained(tiny, tmp_path / name, *PLAIN, 'model.conditioner={name="infogan",categorical=[3],continuous=1}')
    for name in ("codes.png", "walk.png", "clusters.png"):
        a, b = ((tmp_path / run / "samples" / name).read_bytes() for run in "ab")
        assert a == b


def test_wide_codes_are_shown_by_their_principal_components(tiny, tmp_path, figures):
    trainer, made = trained(tiny, tmp_path / "run", "run.ema=0.5")
    assert "codes.png" in made and "walk.png" not in made
    (figure,) = (figure for figure in figures if figure.axes[0].get_title() == "codes of images")
    left, right = figure.axes
    assert left.get_xlabel() == "principal component 1 of 4" and left.get_ylabel() == "principal component 2 of 4"
    test = trainer.images("test")
    with trainer.trained() as model:
        codes = model.encoder(images_to_float(test.images), torch.zeros(len(test.images), 0)).mean.numpy()
    plane = PCA(2).fit(codes)
    signs = np.sign(plane.components_[np.arange(2), np.abs(plane.components_).argmax(1)])
    shown = np.concatenate([np.ma.getdata(points.get_offsets()) for points in left.collections])
    expected = signs * plane.transform(np.concatenate([codes[test.labels == k] for k in range(10)]))
    assert shown == pytest.approx(expected, abs=1e-4)
    assert right.collections[0].get_offsets().shape == (len(codes), 2)


def test_codes_of_one_number_are_not_drawn(tiny, tmp_path):
    _, made = trained(tiny, tmp_path / "run", "model.code_size=1")
    assert "curves.png" in made and not made & {"codes.png", "walk.png", "clusters.png"}


def test_a_model_without_an_encoder_draws_no_codes(tiny, tmp_path):
    game = '{name="gan",code_size=2,prior={name="uniform"},decoder={name="mlp",hidden=[16]},'
    game += 'image_critic={name="image_mlp",hidden=[16]},game={name="nonsaturating"},conditioner={name="none"}}'
    _, made = trained(tiny, tmp_path / "run", f"model={game}")
    assert "curves.png" in made and not made & {"codes.png", "walk.png", "clusters.png"}


@pytest.mark.parametrize("heads", [False, True])
def test_a_run_with_clusters_shows_members_of_each(tiny, tmp_path, monkeypatch, heads):
    """Three clusters of a read-out that the test knows: by the first pixel that differs among the digits."""
    grey = torch.linspace(-1, 1, 3).view(3, 1, 1, 1).expand(-1, 1, 8, 8)

    def share(self, batch):
        bright = batch.x.mean((1, 2, 3))
        return torch.nn.functional.one_hot((bright > -0.5).long() + (bright > -0.3).long(), 3).float()

    monkeypatch.setattr(AdversarialAutoencoder, "clusters", share)
    if heads:
        monkeypatch.setattr(AdversarialAutoencoder, "cluster_heads", lambda self: grey)
    trainer, made = trained(tiny, tmp_path / "run")
    assert "clusters.png" in made
    picture = picture_of(tmp_path / "run" / "samples" / "clusters.png")
    assert picture.shape == (3 * 10 + 2, (10 + heads) * 10 + 2, 3)
    test = trainer.images("test").images
    cluster = share(None, genprior.Batch(images_to_float(test), None)).argmax(1)
    known = {image.numpy().tobytes(): int(k) for image, k in zip(test, cluster, strict=True)}
    for k in range(3):
        if heads:
            assert (tile(picture, k, 0, 8) == [0, 128, 255][k]).all()
        there = [tile(picture, k, j + heads, 8)[..., 0] for j in range(10)]
        count = min(10, int((cluster == k).sum()))
        assert count > 0
        assert [known[image.tobytes()] for image in there[:count]] == [k] * count
        assert not any(image.any() for image in there[count:])


VAE = [
    'model={name="vae",code_size=2,prior={name="gaussian"},encoder={name="mlp",hidden=[16],posterior="gaussian"},'
    'decoder={name="mlp",hidden=[16]},conditioner={name="none"},'
    'reconstruction={name="pixel",metric="gaussian",sigma=0.1,reduction="sum"}}'
]


def test_a_vae_shows_them_too(tiny, tmp_path):
    trainer, made = trained(tiny, tmp_path / "run", *VAE)
    assert isinstance(trainer.model, VariationalAutoencoder) and {"codes.png", "walk.png"} <= made


HVAE = [
    'model={name="hvae",code_size=2,inner_code_size=3,prior={name="gaussian"},'
    'inner_prior={name="conditional_gaussian",hidden=[8]},encoder={name="mlp",hidden=[16],posterior="gaussian"},'
    'inner_encoder={name="mlp",hidden=[16],posterior="gaussian",conditional=true},'
    'decoder={name="mlp",hidden=[16],conditional=true},'
    'reconstruction={name="pixel",metric="gaussian",sigma=0.1,reduction="sum"}}'
]


def test_a_model_of_two_levels_shows_all_its_codes_and_no_walk(tiny, tmp_path, figures):
    _, made = trained(tiny, tmp_path / "run", *HVAE)
    assert "codes.png" in made and "walk.png" not in made
    (figure,) = (figure for figure in figures if figure.axes[0].get_title() == "codes of images")
    assert [axis.get_title() for axis in figure.axes] == ["codes of images", "samples of the prior"]
    assert [axis.get_xlabel() for axis in figure.axes] == 2 * ["principal component 1 of 5"]


REDUCING = [
    'model={name="aae_dimension_reduction",code_size=CODE,CHANGES,prior={name="gaussian"},'
    'encoder={name="mlp",hidden=[16]},decoder={name="mlp",hidden=[16]},category_critic={name="code_mlp",hidden=[8]},'
    'style_critic={name="code_mlp",hidden=[8]},image_critic={name="image_mlp",hidden=[8]},'
    'reconstruction={name="pixel"},category_game={name="nonsaturating"},style_game={name="nonsaturating"},'
    'image_game={name="nonsaturating"}}'
]


def reducing(code, changes):
    return [setting.replace("CODE", str(code)).replace("CHANGES", changes) for setting in REDUCING]


def drawn_of(figures):
    """The two panels of the picture of codes, as points."""
    (figure,) = (figure for figure in figures if figure.axes[0].get_title() == "codes of images")
    return [np.concatenate([np.ma.getdata(p.get_offsets()) for p in axis.collections]) for axis in figure.axes]


@pytest.mark.parametrize(("code", "changes"), [(2, "eta=9"), (6, "eta=9,labels=true,on_circle=true")])
def test_a_model_that_encodes_to_more_than_its_prior_draws_is_shown_beside_its_own_codes(
    tiny, tmp_path, figures, code, changes
):
    """Heads that are far apart: codes and samples lie about them, and the walk leads over them all."""
    trainer, made = trained(tiny, tmp_path / "run", *reducing(code, changes))
    codes, samples = drawn_of(figures)
    test = trainer.images("test")
    assert codes.shape == samples.shape == (len(test.images), 2)
    model = trainer.model.eval()
    with torch.no_grad():
        heads = model.heads.weight.double().numpy()
        plane = np.eye(2)
        if code > 2:
            turn = 2 * np.pi * np.arange(10) / 10
            plane = np.linalg.lstsq(heads, np.stack([np.cos(turn), np.sin(turn)], axis=1), rcond=None)[0]
        out = model.encoder(images_to_float(test.images), torch.zeros(len(test.images), 0)).mean.double()
    places = len(heads)
    r = out[:, :places].softmax(1).numpy() @ heads + out[:, places:].numpy()
    assert codes[np.lexsort(codes.T)] == pytest.approx((r @ plane)[np.lexsort((r @ plane).T)], abs=1e-4)
    # A sample is a head and a style N(0, 1): every head has samples, and none lies 6 deviations from all.
    scale = np.linalg.norm(plane, 2)
    distance = np.linalg.norm(samples[:, None] - (heads @ plane)[None], axis=2)
    assert distance.min(1).max() < 6 * scale and (distance.min(0) < 6 * scale).all()
    assert ("walk.png" in made) == (code == 2)


def test_the_walk_of_a_model_is_what_is_decoded(tiny, tmp_path, monkeypatch):
    walked = torch.arange(2 * 20 * 2.0).view(2, 20, 2) / 40 - 1
    seen, decode = [], AdversarialAutoencoder.decode
    monkeypatch.setattr(AdversarialAutoencoder, "walk", lambda self, columns, like: walked)
    monkeypatch.setattr(
        AdversarialAutoencoder, "decode", lambda self, z, given: seen.append(z) or decode(self, z, given)
    )
    _, made = trained(tiny, tmp_path / "run", *PLAIN)
    assert "walk.png" in made
    assert torch.equal(torch.cat(seen), walked.flatten(0, 1))
    assert picture_of(tmp_path / "run" / "samples" / "walk.png").shape == (2 * 10 + 2, 20 * 10 + 2, 3)


def test_a_model_draws_codes_and_walks_as_its_prior_does(tiny, tmp_path):
    trainer, _ = trained(tiny, tmp_path / "run", *PLAIN)
    model, like = trainer.model.eval(), torch.zeros(5)
    condition = model.condition(like)
    drawn = []
    for draw in (lambda: model.draw_codes(condition), lambda: model.prior.sample(condition.asked)):
        torch.manual_seed(0)
        drawn.append(draw())
    assert torch.equal(*drawn)
    assert torch.equal(model.walk(7, like), model.prior.walk(7, like))
    del model.prior
    assert model.draw_codes(condition) is None and model.walk(7, like) is None


def test_a_walk_is_under_one_condition(tiny, tmp_path, monkeypatch):
    told, decode = [], AdversarialAutoencoder.decode
    monkeypatch.setattr(
        AdversarialAutoencoder, "decode", lambda self, z, given: told.append(given.known) or decode(self, z, given)
    )
    settings = ['model.conditioner={name="label"}', "model.decoder.conditional=true"]
    trainer, made = trained(tiny, tmp_path / "run", *PLAIN, *settings)
    assert "walk.png" in made
    known = torch.cat(told)
    assert known.shape == (400, 10) and (known == known[0]).all() and known[0].sum() == 1
    z, model = torch.randn(5, 2), trainer.model.eval()
    for k in (0, 7):
        condition = model.condition(z, torch.full((5,), k))
        assert torch.equal(model.decode(z, condition), model.decoder(z, condition.known))
    one, other = (model.decode(z, model.condition(z, torch.full((5,), k))) for k in (0, 7))
    assert not torch.equal(one, other)
