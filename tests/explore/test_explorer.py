"""Pictures of given numbers: those that torch makes of them."""

from __future__ import annotations

import math

import pytest
import torch

import genprior
from genprior import to_uint8
from genprior_explore.explorer import NOISE, Asked, noise_of
from genprior_explore.noise import GivenNoise


def in_evaluation(model):
    """The networks as torch has them after `load_run`, which leaves them in evaluation mode."""
    assert not model.training
    return model


# ---------------------------------------------------------------------------------------------------------------------
# Noise
# ---------------------------------------------------------------------------------------------------------------------


def test_the_noise_that_torch_would_draw_gives_what_torch_draws() -> None:
    n = 5

    def draw():
        first = torch.randn(n, 3)
        second = torch.empty(n, 2).normal_(1.0, 0.5)
        third = torch.normal(torch.full((n, 2), 2.0), torch.full((n, 2), 3.0))
        fourth = torch.distributions.Normal(torch.zeros(n, 2), 1.0).rsample() + torch.normal(1.0, 2.0, (n, 2))
        return torch.cat([first, torch.randn_like(second) + second, third, fourth], 1)

    torch.manual_seed(1)
    drawn = draw()
    torch.manual_seed(1)
    noise = torch.cat([torch.randn(n, width) for width in (3, 2, 2, 2, 2, 2)], 1)
    with GivenNoise(noise) as given:
        made = draw()
    assert torch.allclose(made, drawn, rtol=0, atol=1e-6)
    assert (given.taken, given.all_given) == (13, True)


def test_uniform_numbers_are_the_distribution_function_of_the_noise() -> None:
    u = torch.rand(4, 6, generator=torch.Generator().manual_seed(0)).clamp_min(1e-6)
    noise = torch.special.ndtri(u.double()).float()
    with GivenNoise(noise):
        made = torch.cat([torch.rand(4, 3), torch.empty(4, 3).uniform_(-1, to=1)], 1)
    expected = torch.cat([u[:, :3], 2 * u[:, 3:] - 1], 1)
    assert torch.allclose(made, expected, rtol=0, atol=1e-6)
    with GivenNoise(torch.full((2, 1), 40.0)):
        assert bool((torch.rand(2, 1) < 1).all())  # a logarithm of 1 - u stays finite


def test_what_cannot_be_given_is_drawn_under_the_seed() -> None:
    noise = torch.zeros(3, 2)
    torch.manual_seed(2)
    shared, whole = torch.randn(7), torch.randint(9, (3,))
    torch.manual_seed(2)
    with GivenNoise(noise) as given:
        assert torch.equal(torch.randn(3, 0), torch.zeros(3, 0)) and given.all_given
        assert torch.equal(torch.randn(7), shared) and torch.equal(torch.randint(9, (3,)), whole)
        assert not torch.equal(torch.randn(3, 5), torch.zeros(3, 5))  # more than there is
        assert torch.equal(torch.randn(3, 2), noise)
    assert (given.taken, given.all_given) == (2, False)


# ---------------------------------------------------------------------------------------------------------------------
# Images
# ---------------------------------------------------------------------------------------------------------------------


def test_a_picture_is_that_of_the_decoder_for_the_same_numbers(explorer) -> None:
    plain = explorer("plain")
    model = in_evaluation(plain.run.model)
    noise = noise_of(3)[None]
    with torch.no_grad():
        expected = to_uint8(model.decoder(noise[:, :4], torch.zeros(1, 0)))
    z = plain.codes(noise, seed=3)
    assert (plain.width, plain.all_given, plain.number, plain.takes_text) == (4, True, 0, False)
    assert torch.equal(z, noise[:, :4]) and torch.equal(plain.images(z, seed=3), expected)


def test_a_learned_prior_is_fed_the_noise_that_it_draws(explorer) -> None:
    learned = explorer("learned")
    model = in_evaluation(learned.run.model)
    torch.manual_seed(4)
    noise = torch.randn(2, 3)
    torch.manual_seed(4)
    with torch.no_grad():
        expected = model.prior.sample(torch.zeros(2, 0))
    assert learned.width == 3
    assert torch.equal(learned.codes(noise), expected)


def test_a_label_is_the_one_that_is_asked_for(explorer) -> None:
    labelled = explorer("labelled")
    model = in_evaluation(labelled.run.model)
    noise = noise_of(5)[None]
    assert labelled.names == [str(i) for i in range(10)]
    for label in (0, 7):
        with torch.no_grad():
            condition = model.condition(torch.zeros(1), torch.tensor([label]))
            z = torch.cat([condition.asked, noise[:, :4]], 1)
            expected = to_uint8(model.decoder(z, condition.known))
        asked = Asked(label=label)
        assert torch.equal(labelled.images(labelled.codes(noise, asked), asked), expected)


def test_uniform_codes_are_moved_by_normal_numbers(explorer) -> None:
    uniform = explorer("uniform")
    assert (uniform.width, uniform.all_given) == (4, True)
    assert torch.allclose(uniform.codes(torch.zeros(1, NOISE)), torch.zeros(1, 4), atol=1e-7)  # the middle of the cube


def test_codes_move_where_a_prior_takes_no_noise(explorer, monkeypatch) -> None:
    """As for a prior that rejects draws: the codes of the seed, moved by the difference of the noise."""
    plain = explorer("plain")

    def rejecting(asked):
        many = torch.randn(50, 4)
        return many[torch.randperm(50)[: len(asked)]]

    monkeypatch.setattr(plain.run.model.prior, "sample", rejecting)
    other = type(plain)(plain.run)
    assert (other.width, other.moved, other.all_given, other.sliders) == (0, "Code", False, 4)
    base = other.codes(noise_of(9)[None], seed=9)
    moved = noise_of(9)
    moved[1] += 0.25
    assert torch.allclose(other.codes(moved[None], seed=9) - base, torch.tensor([[0, 0.25, 0, 0]]), atol=1e-6)
    ends = (noise_of(9), noise_of(10))
    walk = other.walk(ends, torch.tensor([0.0, 0.5, 1.0]), seeds=(9, 10))
    last = other.codes(ends[1][None], seed=10)[0]
    assert torch.equal(walk[0], base[0]) and torch.equal(walk[2], last)
    assert torch.allclose(walk[1], (base[0] + last) / 2)


@pytest.mark.parametrize("rows", [1, 3, 10])
def test_numbers_that_images_share_are_no_noise(rows, explorer, monkeypatch) -> None:
    """Also where there are as many images as rows of them: an image is that of its noise alone."""
    plain = explorer("plain")

    def sample(asked):
        return torch.randn(rows, 4).sum(0) + torch.randn(len(asked), 4)

    monkeypatch.setattr(plain.run.model.prior, "sample", sample)
    other = type(plain)(plain.run)
    assert (other.width, other.all_given) == (4, False)
    noise = torch.stack([noise_of(i) for i in range(10)])
    together = other.codes(noise, seed=2)
    alone = torch.cat([other.codes(each[None], seed=2) for each in noise])
    assert torch.allclose(together, alone, atol=1e-6)
    assert torch.allclose(together - together[0], (noise - noise[0])[:, :4], atol=1e-5)


@pytest.mark.parametrize("rows", [5, 7])
def test_codes_move_where_noise_is_counted_differently(rows, explorer, monkeypatch) -> None:
    """Numbers that images share, as many rows as there are images at one of the counts."""
    plain = explorer("plain")
    monkeypatch.setattr(
        plain.run.model.prior, "sample", lambda asked: torch.randn(len(asked), 4) + torch.randn(rows, 4).sum(0)
    )
    other = type(plain)(plain.run)
    assert (other.width, other.moved, other.all_given) == (0, "Code", False)
    for n in (1, rows):
        noise = noise_of(9).repeat(n, 1)
        base = other.codes(noise, seed=9)
        assert torch.allclose(other.codes(noise + 0.5, seed=9) - base, torch.full((n, 4), 0.5), atol=1e-6)


@pytest.mark.parametrize("asked", [Asked(), Asked(label=3)])
def test_what_a_condition_draws_beside_its_label_is_the_same_for_all_images(asked, explorer, monkeypatch) -> None:
    labelled = explorer("labelled")
    condition = labelled.run.model.condition

    def drawn(like, y=None):
        made = condition(like, y)
        return made._replace(known=made.known + torch.randn(len(like), 1))

    monkeypatch.setattr(labelled.run.model, "condition", drawn)
    made = labelled._condition(6, asked)
    assert made.known.shape == (6, 10) and torch.equal(made.known, made.known[:1].expand(6, -1))
    assert torch.equal(made.asked, made.asked[:1].expand(6, -1))
    codes = labelled.codes(noise_of(0).expand(6, -1), asked)
    images = labelled.images(codes, asked)
    assert torch.equal(images, images[:1].expand(6, -1, -1, -1))


def test_all_channels_of_an_image_are_shown() -> None:
    from genprior_explore.pictures import enlarged, strip

    image = torch.arange(2 * 3 * 4, dtype=torch.uint8).reshape(2, 3, 4)
    assert (enlarged(image, 1) == torch.cat([*image], 1)[..., None].expand(3, 8, 3).numpy()).all()
    assert strip(torch.stack([image, image])).shape == (36, 192, 3)


def test_a_walk_joins_its_ends_and_its_noise_stays_normal(explorer) -> None:
    plain = explorer("plain")
    ends = (noise_of(0), noise_of(1))
    walk = plain.walk(ends, torch.linspace(0, 1, 5), seeds=(0, 1))
    assert torch.allclose(walk[[0, -1]], torch.stack(ends)[:, :4], atol=1e-6)
    half = math.sqrt(0.5)
    assert torch.allclose(walk[2], half * (ends[0] + ends[1])[:4], atol=1e-6)
    pairs = [((noise_of(i), noise_of(i + 5000)), (i, i + 5000)) for i in range(5000)]
    many = torch.cat([plain.walk(pair, torch.tensor([0.5]), seeds=seeds) for pair, seeds in pairs])
    assert many.shape == (5000, 4)
    assert float(many.std()) == pytest.approx(1, abs=0.02)  # of 20,000 numbers: four standard errors
    assert abs(float(many.mean())) < 0.03


def test_a_point_of_the_code_space_is_decoded(explorer) -> None:
    plain = explorer("plain")
    plane = plain.plane
    assert plane is not None and plane.of_images and plane.points.shape == (360, 2)
    images = plain.run.images("test")
    codes = plain.run.encode(images.images)
    assert torch.allclose(plane.point(codes), plane.points, atol=1e-5)
    z, target = plain.codes(noise_of(0)[None]), torch.tensor([[0.4, -0.1]])
    moved = plane.moved(z, target)
    assert torch.allclose(plane.point(moved).float(), target, atol=1e-6)
    across = torch.eye(4, dtype=torch.float64) - plane.axes @ plane.axes.mT
    assert torch.allclose((moved - z).double() @ across, torch.zeros(1, 4, dtype=torch.float64), atol=1e-6)


def test_drawn_codes_are_shown_where_the_data_is_gone(explorer, monkeypatch) -> None:
    plain = explorer("plain")

    def gone(split):
        raise genprior.DataError("no such folder")

    monkeypatch.setattr(plain.run, "images", gone)
    plane = plain.plane
    assert plane is not None and not plane.of_images and plane.classes == () and plane.points.shape == (500, 2)


def test_a_model_without_codes_is_refused_by_name(explorer, monkeypatch) -> None:
    plain = explorer("plain")
    monkeypatch.setattr(plain.run.model, "decode", lambda z, condition: None)
    with pytest.raises(
        genprior.PlanError, match=r"row 'plain'\) cannot be explored: its model 'aae' does not generate"
    ):
        type(plain)(plain.run)
