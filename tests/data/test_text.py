"""Captions as data: their checks, their vectors, and the one that each image of a batch gets."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genprior import Attribute, DataError, ImageSet, check_images
from genprior.data.batches import DeviceData
from genprior.data.text import EmbeddedCaptions

CAPTIONS = (("a", "bb"), ("ccc",), ("bb", "dddd", "a"), ("eeeee",), ("a",), ("ffffff", "bb"))


class Lengths:
    """Embeds a sentence as its length and 1, and counts what it embedded."""

    def __init__(self):
        self.embedded = []

    def embed(self, sentences):
        self.embedded += sentences
        return torch.tensor([[float(len(text)), 1.0] for text in sentences])


def image_set(captions=CAPTIONS, attributes=()):
    """One image a caption list, whose grey is its index."""
    n = len(captions) or 6
    images = torch.arange(n, dtype=torch.uint8)[:, None, None, None].expand(n, 1, 2, 2).contiguous()
    return ImageSet(images, torch.zeros(n, dtype=torch.int64), (), captions, attributes)


def place(x):
    return ((x[:, 0, 0, 0] * 127.5) + 127.5).round().long().tolist()


def test_every_caption_is_embedded_once():
    embedder = Lengths()
    text = EmbeddedCaptions.of(image_set(), embedder)
    assert sorted(embedder.embedded) == ["a", "bb", "ccc", "dddd", "eeeee", "ffffff"]
    assert text.vectors[:, 0].tolist() == [len(caption) for some in CAPTIONS for caption in some]
    assert text.counts.tolist() == [2, 1, 3, 1, 1, 2]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 9), step=st.integers(0, 40), resident=st.booleans(), channels_last=st.booleans())
def test_an_image_gets_a_caption_of_its_own(seed, step, resident, channels_last):
    text = EmbeddedCaptions.of(image_set(), Lengths())
    data = DeviceData(
        image_set(), "cpu", batch=4, seed=seed, text=text, resident=resident, channels_last=channels_last, flip=True
    )
    batch = data.batch(step)
    for index, vector in zip(place(batch.x), batch.text.tolist(), strict=True):
        assert vector[0] in {len(caption) for caption in CAPTIONS[index]}


def test_each_caption_comes_equally_often():
    text = EmbeddedCaptions.of(image_set(), Lengths())
    data = DeviceData(image_set(), "cpu", batch=6, seed=0, text=text)
    lengths = []
    for step in range(3000):
        batch = data.batch(step)
        lengths += [v[0] for i, v in zip(place(batch.x), batch.text.tolist(), strict=True) if i == 2]
    # 3,000 draws of three captions: 5 standard deviations of sqrt(3000 / 3 * 2 / 3) are 129; wrong once in 10^6.
    assert all(abs(lengths.count(length) - 1000) < 129 for length in (2.0, 4.0, 1.0))


def test_captions_change_neither_images_nor_their_order_and_ranks_share_them():
    text = EmbeddedCaptions.of(image_set(), Lengths())
    for step in range(5):
        plain = DeviceData(image_set(), "cpu", batch=4, seed=1).batch(step)
        whole = DeviceData(image_set(), "cpu", batch=4, seed=1, text=text).batch(step)
        ranks = [
            DeviceData(image_set(), "cpu", batch=4, seed=1, text=text, rank=r, world=2).batch(step) for r in (0, 1)
        ]
        assert torch.equal(plain.x, whole.x) and plain.text is None
        assert torch.equal(torch.cat([rank.text for rank in ranks]), whole.text)


def test_images_drawn_before_the_first_step_have_a_caption_of_their_own():
    text = EmbeddedCaptions.of(image_set(), Lengths())
    batch = DeviceData(image_set(), "cpu", batch=4, seed=1, text=text).draw(6)
    for index, vector in zip(place(batch.x), batch.text.tolist(), strict=True):
        assert vector[0] in {len(caption) for caption in CAPTIONS[index]}


def test_a_part_of_a_set_keeps_captions_and_attributes():
    colour = Attribute("colour", ("red", "blue"), torch.tensor([0, 1, -1, 0, 1, 1]))
    whole = check_images(image_set(attributes=(colour,)), "set")
    some = check_images(whole.take(torch.tensor([5, 0])), "part")
    assert some.captions == (CAPTIONS[5], CAPTIONS[0]) and some.attributes[0].values.tolist() == [1, 0]
    first = whole.take(slice(2))
    assert first.captions == CAPTIONS[:2] and first.attributes[0].values.tolist() == [0, 1] and len(first.images) == 2
    assert whole.info.captioned and not image_set(()).info.captioned


@pytest.mark.parametrize(
    ("captions", "message"),
    [
        (CAPTIONS[:4] + ((),) + CAPTIONS[5:], "set: image 4 has no caption; every image of a captioned set needs"),
        (CAPTIONS[:5] + (("a", " \n"),), "set: image 5 has an empty caption; every image of a captioned set needs"),
    ],
)
def test_images_without_words_are_refused(captions, message):
    with pytest.raises(DataError, match=message):
        check_images(image_set(captions), "set")


def test_captions_of_other_images_are_refused():
    with pytest.raises(DataError, match="set: there are captions of 2 images for 6 images; give each image some"):
        check_images(image_set()._replace(captions=CAPTIONS[:2]), "set")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (torch.tensor([0, 1]), r"attribute 'colour' is int64 \[2\]; int64 \[6\] is needed"),
        (torch.zeros(6), r"attribute 'colour' is float32 \[6\]; int64 \[6\] is needed"),
        (torch.tensor([0, 1, 2, 0, 0, 0]), r"'colour' has values from 0 to 2; -1 \(not said\) to 1 are possible"),
        (torch.tensor([0, 1, -2, 0, 0, 0]), r"'colour' has values from -2 to 1; -1 \(not said\) to 1 are possible"),
    ],
)
def test_attributes_that_do_not_belong_to_the_images_are_refused(values, message):
    with pytest.raises(DataError, match=message):
        check_images(image_set(attributes=(Attribute("colour", ("red", "blue"), values),)), "set")
