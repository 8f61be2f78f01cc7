"""The perturbation that makes an image's category least likely: its direction, its length, and when it is used."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from genprior_std.model_pieces.sorting import Sorting, perturbed

SHAPE = (1, 3, 4)


def linear(k, seed=0):
    """Logits that are linear in the image, and the matrix of them."""
    torch.manual_seed(seed)
    matrix = torch.randn(12, k, dtype=torch.float64)
    return (lambda x: x.flatten(1) @ matrix), matrix


@given(length=st.floats(0.01, 10), seed=st.integers(0, 1000))
def test_of_two_categories_it_is_the_normal_of_the_boundary(length, seed):
    logits_of, matrix = linear(2, seed)
    x = torch.randn(5, *SHAPE, dtype=torch.float64)
    normal = matrix[:, 0] - matrix[:, 1]
    sign = torch.where(logits_of(x).argmax(1) == 0, -1.0, 1.0).double()
    expected = length * sign[:, None] * normal / normal.norm()
    added = (perturbed(x, logits_of, length) - x).flatten(1)
    torch.testing.assert_close(added, expected)


def test_no_other_direction_of_this_length_lowers_the_category_more():
    logits_of, _ = linear(4)
    x = torch.randn(6, *SHAPE, dtype=torch.float64)
    k = logits_of(x).argmax(1, keepdim=True)

    def log_q(images):
        return logits_of(images).log_softmax(1).gather(1, k).squeeze(1)

    length = 1e-4  # to first order
    lowest = log_q(perturbed(x, logits_of, length))
    for _ in range(50):
        other = torch.randn(6, 12, dtype=torch.float64)
        other = (length * other / other.norm(dim=1, keepdim=True)).view_as(x)
        assert (log_q(x + other) > lowest).all()


def test_a_certain_category_has_a_direction_and_a_flat_one_has_none():
    logits_of, _ = linear(3)
    x = torch.randn(4, *SHAPE, dtype=torch.float64)
    certain = perturbed(x, lambda images: 1e4 * logits_of(images), 2.0)  # q is 1 in any precision
    torch.testing.assert_close((certain - x).flatten(1).norm(dim=1), torch.full((4,), 2.0).double())
    assert torch.equal(perturbed(x, lambda images: images.flatten(1)[:, :3] * 0, 2.0), x)


def test_it_trains_no_network_and_reaches_no_gradient():
    network = torch.nn.Linear(12, 3)
    x = torch.randn(4, *SHAPE)
    with torch.no_grad():  # it computes its own gradient all the same
        found = perturbed(x, lambda images: network(images.flatten(1)), 1.0)
    assert not found.requires_grad and network.weight.grad is None and not torch.equal(found, x)


@pytest.mark.parametrize("moves", [{}, {"shift": 0.0, "rotate": 0.0, "zoom": 0.0}])
def test_images_are_moved_first_if_they_are_moved(moves):
    logits_of, _ = linear(3)
    x = torch.randn(4, *SHAPE, dtype=torch.float64)
    sorts = Sorting(consistency=1.0, adversarial=0.5, **moves)
    torch.manual_seed(3)
    found = sorts.transformed(x, logits_of)
    torch.manual_seed(3)
    before = sorts.model_copy(update={"adversarial": 0.0}).transformed(x, logits_of)
    assert torch.equal(before, x) == bool(moves)
    torch.testing.assert_close(found, perturbed(before, logits_of, 0.5))


def test_one_half_of_the_batch_is_perturbed_when_the_encoder_sees_both():
    seen = []
    logits_of, _ = linear(3)

    def watched(images):
        seen.append(images.detach().clone())
        return logits_of(images)

    x = torch.randn(4, *SHAPE, dtype=torch.float64)
    Sorting(consistency=1.0, adversarial=0.5, shift=0.0, rotate=0.0, zoom=0.0).losses(x, watched)
    first, both = seen
    assert torch.equal(first, x) and torch.equal(both[:4], x)
    torch.testing.assert_close((both[4:] - x).flatten(1).norm(dim=1), torch.full((4,), 0.5).double())
