"""The facts that data sets state of their images, which published numbers are compared with, are true of them."""

from __future__ import annotations

import pytest
import torch

from genprior import ImageSet
from genprior.registry import installed
from genprior_std.datasets.download import DIGIT_NAMES, Downloaded

OFFICIAL = {
    "mnist": (60_000, 10_000, 28),
    "fashion_mnist": (60_000, 10_000, 28),
    "cifar10": (50_000, 10_000, 32),
    "svhn": (73_257, 26_032, 32),
}


@pytest.fixture
def official(monkeypatch):
    """Downloads are black images, as many as the official ones and of their size, that take no memory."""

    def load(self, split):
        train, test, side = OFFICIAL[self.name]
        n = train if split == "train" else test
        return ImageSet(torch.zeros(1, dtype=torch.uint8).expand(n, 1, side, side), torch.zeros(n).long(), DIGIT_NAMES)

    monkeypatch.setattr(Downloaded, "load", load)


@pytest.mark.parametrize(
    ("name", "settings", "framing"),
    [
        ("mnist", {"size": 28}, "original"),
        ("mnist", {"size": None, "validation": 10_000}, "original"),
        ("mnist", {"size": 28, "validation": 400, "limit": 1_000}, "original"),
        ("mnist", {"size": 28, "validation": 400, "limit": 60_000}, "original"),
        ("mnist", {"limit": 10}, "padded"),
        ("mnist", {"limit": 10, "size": 14, "how": "resize"}, "resized"),
        ("fashion_mnist", {"size": 28, "validation": 1}, "original"),
        ("mnist", {"size": 28, "validation": 400, "test_split": "validation"}, "original"),
        ("digits", {"size": 8, "validation": 200, "test_split": "validation"}, "original"),
        ("cifar10", {}, "original"),
        ("svhn", {"size": None}, "original"),
        ("digits", {"size": 8}, "original"),
        ("digits", {"size": 16, "validation": 200, "binarise": "dynamic"}, "resized"),
    ],
)
def test_facts_are_those_of_the_images(official, name, settings, framing):
    dataset = installed().find("dataset", name).Config(**settings).make()
    facts = dataset.facts
    for split, count in facts["images_of_splits"].items():
        if not (split == "test" and "limit" in settings):  # all of them, scaled
            images = dataset.load(split).images
            assert (len(images), *images.shape[2:]) == (count, facts["size"], facts["size"])
    assert facts["framing"] == framing and facts["binarise"] == settings.get("binarise", "none")
    assert facts.get("split", "test") == settings.get("test_split", "test")
    assert ("validation" in facts["images_of_splits"]) == bool(settings.get("validation"))


def test_a_set_of_ones_own_states_nothing(tmp_path):
    assert installed().find("dataset", "folder").Config(path=tmp_path).make().facts == {}
