"""Fixtures of the score tests: small data sets, and an extractor that counts its calls."""

from __future__ import annotations

import pytest
import torch

from genprior.parts import ImageSet
from genprior.scoring.context import Features, SampleContext

CLASSES = ("dark", "light", "left")


def images_of(labels: torch.Tensor, seed: int) -> torch.Tensor:
    """Noisy images uint8 [n, 1, 8, 8] whose class can be seen: dark, light, or light on the left."""
    base = torch.tensor([40.0, 200.0, 40.0])[labels][:, None, None, None].expand(-1, 1, 8, 8).clone()
    base[labels == 2, :, :, :4] = 200.0
    noise = torch.randn(base.shape, generator=torch.Generator().manual_seed(seed)) * 20
    return (base + noise).clamp(0, 255).to(torch.uint8)


def shapes(split: str) -> ImageSet:
    """A labelled set that a small net learns in a second: 240 images to train, 60 to test."""
    n, seed = {"train": (240, 1), "test": (60, 2)}[split]
    labels = torch.arange(n) % 3
    return ImageSet(images_of(labels, seed), labels, CLASSES)


class Counting:
    """An extractor of fixed random projections that counts the images that it saw."""

    title = "counting"
    keep = False
    batch = 32

    def __init__(self, key: str = "counting-0", width: int = 4) -> None:
        generator = torch.Generator().manual_seed(len(key))
        self.key = key
        self.seen = 0
        self.weights = torch.randn(64, width, generator=generator, dtype=torch.float64) / 64
        self.head = torch.randn(width, 3, generator=generator, dtype=torch.float64)

    def __call__(self, images: torch.Tensor) -> Features:
        assert len(images) <= self.batch
        self.seen += len(images)
        features = images.flatten(1).double() @ self.weights
        return Features(features, features @ self.head)


class Sampler:
    """Makes the first n images of one sequence, and notes what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __call__(self, n: int) -> torch.Tensor:
        self.asked.append(n)
        return images_of(torch.arange(1000) % 3, seed=3)[:n]


@pytest.fixture
def sampler():
    return Sampler()


@pytest.fixture
def make_context(tmp_path, sampler):
    def make(load=shapes, sample=None, cache=tmp_path):
        return SampleContext(sample or sampler, load, device="cpu", seed=0, cache=cache)

    return make


@pytest.fixture
def counting():
    return Counting()


@pytest.fixture
def seen_through(counting):
    """Replace Inception and the classifier by the counting extractor."""

    def put(context):
        context.once("inception:None", lambda: counting)
        context.once("classifier", lambda: counting)
        return context

    return put


@pytest.fixture
def load_shapes():
    return shapes
