"""The index of each image of a batch among the training images."""

from __future__ import annotations

import pytest
import torch

from genprior.data import room
from genprior.data.batches import DeviceData
from genprior.errors import DataError, PlanError
from genprior.parts import ImageSet


def numbered(n):
    """n images of one pixel, each of its own number, of two classes."""
    images = torch.arange(n, dtype=torch.uint8)[:, None, None, None]
    return ImageSet(images, torch.arange(n) % 2, ("even", "odd"))


def numbers(x):
    return ((x.flatten() + 1) * 127.5).round().long()


@pytest.mark.parametrize("resident", [True, False])
@pytest.mark.parametrize("rank", [0, 1])
def test_batches_know_the_places_of_their_images(resident, rank):
    data = DeviceData(numbered(20), "cpu", batch=6, seed=4, labels=6, resident=resident, rank=rank, world=2)
    for step in range(7):
        batch = data.batch(step)
        assert batch.index.dtype == torch.int64
        assert torch.equal(batch.index, numbers(batch.x))
        assert torch.equal(batch.labelled.index, numbers(batch.labelled.x))


@pytest.mark.parametrize("resident", [True, False])
@pytest.mark.parametrize("n", [5, None])
def test_draws_know_the_places_of_their_images(resident, n):
    batch = DeviceData(numbered(20), "cpu", batch=6, seed=4, resident=resident).draw(n)
    assert torch.equal(batch.index, numbers(batch.x))
    assert len(batch.index.unique()) == (n or 20)


def test_a_draw_of_all_is_as_a_draw_of_their_number():
    data = DeviceData(numbered(20), "cpu", batch=6, seed=4)
    torch.manual_seed(1)
    everything = data.draw(None)
    torch.manual_seed(1)
    assert torch.equal(everything.x, data.draw(20).x)
    with pytest.raises(PlanError):
        data.draw(21)


def test_more_numbers_than_memory_are_refused(monkeypatch):
    data = DeviceData(numbered(20), "cpu", batch=6, seed=4)
    monkeypatch.setattr(room, "_memory", lambda: 100)
    assert len(data.draw(12).x) == 12
    with pytest.raises(DataError) as caught:
        data.draw(13)
    assert str(caught.value) == (
        "13 training images as single precision numbers would take 0.0 GiB, more than half of the 0.0 GiB of memory of "
        "this machine; use fewer or smaller images"
    )
