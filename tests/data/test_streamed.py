"""Streamed images are those that are decoded at once, whatever chooses or batches them."""

from __future__ import annotations

import copy
import os
import pickle
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genprior.data import streamed
from genprior.data.batches import DeviceData
from genprior.data.images import check_images, check_levels
from genprior.data.streamed import ImageSource, StreamedImages
from genprior.errors import DataError
from genprior.parts import ImageSet
from genprior.scoring.context import Features, SampleContext
from genprior.storage.cache import content_hash

N, C, H, W = 37, 3, 4, 6


class Reading:
    """Images in memory that are read one at a time, and how often."""

    def __init__(self, images):
        self.images, self.read = images, []

    def __call__(self, place):
        self.read.append(place)
        return self.images[place].permute(1, 2, 0).numpy()


def images_of(n=N, c=C, h=H, w=W, seed=0):
    return torch.randint(256, (n, c, h, w), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def pair(workers=2, **form):
    """The same images in memory and streamed, and the reading of the streamed ones."""
    images = images_of(**form)
    reading = Reading(images)
    source = ImageSource("pictures", tuple(images.shape[1:]), reading, workers)
    return images, StreamedImages.all_of(source, len(images)), reading


@pytest.fixture(params=[0, 1, 3])
def workers(request):
    return request.param


# --- tensors ----------------------------------------------------------------------------------------------------------

CHOICES = {
    "slice": lambda x: x[5:20],
    "slice with a step": lambda x: x[3:30:4],
    "narrow": lambda x: x.narrow(0, 4, 9),
    "index": lambda x: x[torch.tensor([7, 2, 2, -1])],
    "list": lambda x: x[[3, 1]],
    "mask": lambda x: x[torch.arange(len(x)) % 3 == 0],
    "index_select": lambda x: x.index_select(0, torch.tensor([4, 4, 0])),
    "a choice of a choice": lambda x: x[10:][torch.tensor([1, 5])][1:],
    "detach": lambda x: x.detach(),
    "none of them": lambda x: x[:0],
}


@pytest.mark.parametrize("choose", CHOICES.values(), ids=CHOICES)
def test_images_are_chosen_without_decoding_them(choose, workers):
    images, lazy, reading = pair(workers)
    chosen = choose(lazy)
    assert isinstance(chosen, StreamedImages) and reading.read == []
    assert torch.equal(chosen.decoded(), choose(images)) and chosen.decoded().is_contiguous()


USES = {
    "float": lambda x: x.float(),
    "to": lambda x: x.to(torch.float64),
    "permute": lambda x: x.permute(0, 2, 3, 1),
    "clone": lambda x: x.clone(),
    "max": lambda x: x.max(),
    "compare": lambda x: (x == 0) | (x > 3),
    "a number first": lambda x: 255 - x,
    "cat": lambda x: torch.cat([x, x.clone(), x]),
    "stack": lambda x: torch.stack([x, x]),
    "one": lambda x: x[3],
    "a pixel": lambda x: x[3, 0, 1, 2],
    "a column": lambda x: x[:, :, 0],
    "a plane": lambda x: x[..., 2],
    "an index of two axes": lambda x: x[torch.tensor([1, 2]), torch.tensor([0, 1])],
    "an index of two rows": lambda x: x[torch.tensor([[1, 2], [3, 4]])],
    "a slice of channels": lambda x: x.split(1, dim=1)[1],
    "channels": lambda x: x.index_select(1, torch.tensor([0])),
    "flip": lambda x: x.flip(3),
    "reshape": lambda x: x.reshape(len(x), -1),
    "iterate": lambda x: torch.stack(list(x)),
    "numpy": lambda x: torch.from_numpy(x.numpy()),
    "asarray": lambda x: torch.from_numpy(np.asarray(x)),
    "tolist": lambda x: torch.tensor(x.tolist()),
    "pickle": lambda x: pickle.loads(pickle.dumps(x)),
    "interpolate": lambda x: torch.nn.functional.interpolate(x.float(), 8),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_an_operation_decodes_its_images(use, workers):
    images, lazy, _ = pair(workers)
    found = use(lazy)
    assert (
        not isinstance(found, StreamedImages) and torch.equal(found, use(images)) and found.dtype == use(images).dtype
    )


def test_pieces_are_decoded_one_by_one():
    images, lazy, reading = pair(0)
    pieces = torch.split(lazy, 10)
    assert [len(piece) for piece in pieces] == [10, 10, 10, 7] and reading.read == []
    assert torch.equal(pieces[1] + 0, images[10:20]) and reading.read == list(range(10, 20))


def test_one_image_is_decoded_alone():
    images, lazy, reading = pair(0)
    assert torch.equal(lazy[-2], images[-2]) and reading.read == [35]


def test_form_needs_no_pixels():
    images, lazy, reading = pair()
    assert lazy.shape == images.shape and len(lazy) == N and lazy.ndim == 4 and lazy.numel() == images.numel()
    assert lazy.dtype == torch.uint8 and lazy.device.type == "cpu" and isinstance(lazy, torch.Tensor)
    assert repr(lazy) == "StreamedImages([37, 3, 4, 6] of pictures)" and copy.deepcopy(lazy).shape == lazy.shape
    assert check_images(ImageSet(lazy, torch.zeros(N, dtype=torch.int64), ()), "it") and reading.read == []


def test_equality_and_hash_are_those_of_the_pixels():
    images, lazy, reading = pair()
    assert torch.equal(lazy, lazy[:]) and not torch.equal(lazy, lazy[1:]) and reading.read == []
    assert torch.equal(lazy, images) and torch.equal(images, lazy)
    assert torch.equal(lazy, StreamedImages(lazy.source, torch.arange(N)))
    assert not torch.equal(lazy, images.flip(0)) and not torch.equal(lazy, lazy[torch.arange(N).flip(0)])
    assert content_hash(lazy) == content_hash(images) and content_hash(lazy[3:]) == content_hash(images[3:])


def test_a_hash_in_pieces_is_that_of_the_whole(monkeypatch):
    tensors = [torch.randn(50, 7), torch.randn(7, 50).T, torch.tensor(3.0), torch.empty(0, 4), torch.arange(9)]
    whole = [content_hash(tensor) for tensor in tensors]
    monkeypatch.setattr("genprior.storage.cache._HASHED", 64)
    assert [content_hash(tensor) for tensor in tensors] == whole


def test_streamed_images_are_not_written_to():
    images, lazy, _ = pair()
    for write in (lambda: lazy.add_(1), lambda: lazy.__setitem__(0, 0), lambda: lazy[:3].fill_(3)):
        with pytest.raises(DataError, match=r"^streamed images cannot be written to; write to their clone\(\)$"):
            write()
    assert torch.equal(lazy.clone().add_(1), images + 1)


def test_more_than_half_of_the_memory_is_not_decoded_at_once(monkeypatch):
    _, lazy, reading = pair()
    monkeypatch.setattr("genprior.data.room._memory", lambda: 1000)
    with pytest.raises(DataError, match="pictures: decoding 37 streamed images at once would take"):
        lazy.float()
    assert reading.read == [] and lazy[:5].float().shape == (5, 3, 4, 6)


def test_the_form_of_a_set_is_seen_in_its_first_images():
    images, lazy, reading = pair(0, n=200)
    whole, streamed_set = (ImageSet(x, torch.zeros(200, dtype=torch.int64), ()) for x in (images, lazy))
    assert streamed_set.info == whole.info and set(reading.read) == {0}
    assert check_levels(lazy, "it") is lazy and max(reading.read) < 64
    black = ImageSource("black", (1, 2, 2), lambda place: np.full((2, 2, 1), 255 * (place % 2), np.uint8), 0)
    assert ImageSet(StreamedImages.all_of(black, 9), torch.zeros(9, dtype=torch.int64), ()).info.binary
    dark = ImageSource("dark", (1, 2, 2), lambda place: np.full((2, 2, 1), place == 150, np.uint8), 0)
    with pytest.raises(DataError, match="it: its values are 0 and 1"):
        check_levels(StreamedImages.all_of(dark, 200), "it")


@pytest.mark.parametrize(
    "wrong", [np.zeros((4, 6, 1), np.uint8), np.zeros((4, 6, 3), np.float32)], ids=["size", "type"]
)
def test_an_image_of_another_form_is_refused(wrong, workers):
    lazy = StreamedImages.all_of(ImageSource("pictures", (3, 4, 6), lambda place: wrong, workers), 5)
    with pytest.raises(DataError, match=r"^pictures: image 0 was decoded as .*; uint8 \[4, 6, 3\] is needed$"):
        lazy.float()


# --- batches ----------------------------------------------------------------------------------------------------------

AUGMENTED = {"flip": True, "shift": 1, "rotate": 10.0, "zoom": 0.1}


def both(workers, seed=0, n=N, **options):
    """Batches of the same images in memory and streamed."""
    images, lazy, reading = pair(workers, n=n)
    labels = torch.arange(n) % 4
    sets = [ImageSet(x, labels, ("a", "b", "c", "d")) for x in (images, lazy)]
    found = [DeviceData(each, "cpu", seed=seed, **options) for each in sets]
    reading.read.clear()
    return *found, reading


def same(a, b):
    assert torch.equal(a.x, b.x) and a.x.stride() == b.x.stride()
    assert torch.equal(a.y, b.y) and torch.equal(a.index, b.index)
    if a.labelled is not None:
        same(a.labelled, b.labelled)


@given(
    seed=st.integers(0, 100),
    batch=st.integers(1, N),
    workers=st.sampled_from([0, 1, 2, 5]),
    steps=st.lists(st.integers(0, 60), min_size=1, max_size=6),
    channels_last=st.booleans(),
    stochastic=st.booleans(),
    augmented=st.booleans(),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_batches_are_those_in_memory_bit_for_bit(seed, batch, workers, steps, channels_last, stochastic, augmented):
    options = AUGMENTED if augmented else {}
    memory, stream, _ = both(workers, seed, batch=batch, channels_last=channels_last, stochastic=stochastic, **options)
    assert memory.batches_per_epoch == stream.batches_per_epoch and len(stream) == N
    for first in steps:  # resumed here, in the midst of an epoch or at its end
        for step in range(first, first + 3):
            same(memory.batch(step), stream.batch(step))


def test_few_labels_and_slices_of_ranks(workers):
    for rank in range(2):
        memory, stream, _ = both(workers, batch=6, labels=12, labelled_batch=4, rank=rank, world=2, flip=True)
        assert torch.equal(memory.labelled, stream.labelled) and memory.info == stream.info
        for step in range(14):
            same(memory.batch(step), stream.batch(step))


def test_draws_and_all_images_in_order(workers):
    memory, stream, _ = both(workers, batch=6, channels_last=True)
    for n in (None, 1, 10):
        with torch.random.fork_rng():
            drawn = []
            for each in (memory, stream):
                torch.manual_seed(5)
                drawn.append(each.draw(n))
        same(*drawn)
    for in_turn in (False, True):
        for pieces in zip(memory.in_order(10, in_turn=in_turn), stream.in_order(10, in_turn=in_turn), strict=True):
            same(*pieces)


def test_each_image_of_an_epoch_is_decoded_once():
    _, stream, reading = both(2, n=36, batch=6)
    for step in range(6):
        stream.batch(step)
    ahead = list(stream._stream._pending.values())  # of the next epoch, perhaps read before the last ones of this epoch
    for pending in ahead:
        pending.result()
    times = Counter(reading.read)
    assert len(times) == 36 and max(times.values()) <= 2
    assert times.total() == 36 + 6 * len(ahead) and len(ahead) <= 2 * 2


def test_threads_read_ahead_and_no_further(monkeypatch):
    _, stream, reading = both(1, batch=5)
    stream.batch(0)
    for pending in stream._stream._pending.values():
        pending.result()
    assert len(reading.read) == 5 * (1 + 2)
    stream.batch(1)
    for pending in stream._stream._pending.values():
        pending.result()
    assert len(reading.read) == 5 * (1 + 3)


def test_without_workers_the_training_thread_decodes():
    _, stream, _ = both(0, batch=5)
    threads = set()
    source = stream._stream._images.source
    reading = source.read
    object.__setattr__(source, "read", lambda place: threads.add(threading.current_thread()) or reading(place))
    stream.batch(0)
    stream.batch(1)
    assert threads == {threading.main_thread()}


def test_a_batch_that_cannot_be_read_fails_its_step_and_no_other(workers):
    images = images_of()

    def read(place):
        if place == 20:
            raise DataError("pictures: 20.png cannot be read")
        return images[place].permute(1, 2, 0).numpy()

    lazy = StreamedImages.all_of(ImageSource("pictures", (C, H, W), read, workers), N)
    data = DeviceData(ImageSet(lazy, torch.zeros(N, dtype=torch.int64), ()), "cpu", batch=5, seed=0)
    good = DeviceData(ImageSet(images, torch.zeros(N, dtype=torch.int64), ()), "cpu", batch=5, seed=0)
    bad = next(step for step in range(7) if 20 in good.batch(step).index)
    for step in range(7):
        if step == bad:
            with pytest.raises(DataError, match="20.png cannot be read"):
                data.batch(step)
        else:
            same(data.batch(step), good.batch(step))


def test_a_forked_process_makes_threads_of_its_own(monkeypatch):
    _, lazy, _ = pair(2)
    before = lazy.source.pool
    monkeypatch.setattr(streamed.os, "getpid", lambda: -1)
    assert lazy.source.pool is not before


# --- memory -----------------------------------------------------------------------------------------------------------


class Brightness:
    """A network that needs no time: the mean of each channel; it notes the memory that the process has."""

    key, title, batch, keep = "brightness", "brightness", 16, True

    def __init__(self):
        self.most = 0

    def __call__(self, images):
        means = images.float().mean(dim=(2, 3))
        self.most = max(self.most, resident())
        return Features(means, means)


def resident():
    """The bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc of Linux")
def test_training_and_scoring_need_the_memory_of_batches(tmp_path):
    n, side = 2500, 160

    def read(place):
        return np.full((side, side, 3), place % 251, np.uint8)

    lazy = StreamedImages.all_of(ImageSource("pictures", (3, side, side), read, 2), n)
    train, extractor = ImageSet(lazy, torch.zeros(n, dtype=torch.int64), ()), Brightness()
    splits = {"train": train, "test": train.take(slice(300))}
    context = SampleContext(lambda n: lazy[:n], splits.__getitem__, device="cpu", seed=0, cache=tmp_path)
    context.features(Brightness(), "test")  # what the first images need once: libraries, threads and their buffers
    before = resident()
    features = context.features(extractor, "train").features
    assert torch.equal(features[:, 0], torch.arange(n).remainder(251).float())
    data = DeviceData(train, "cpu", batch=16, seed=0, channels_last=True)
    for step in range(data.batches_per_epoch):
        data.batch(step)
        extractor.most = max(extractor.most, resident())
    assert lazy.numel() > 190e6 and extractor.most - before < lazy.numel() / 2
    whole = lazy.clone()  # what the images are in memory, as the measure of this test
    assert resident() - before > 0.9 * whole.numel()
