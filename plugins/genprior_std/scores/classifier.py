"""A small classifier of the data set's own classes, for scores where the Inception network is not available."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from genprior import Features, ImageSet, SampleContext, ScoreError, content_hash, keep_on_disk

__all__ = [
    "CAVEAT",
    "ClassifierExtractor",
    "ClassifierNet",
    "check_classes",
    "classifier",
    "content_key",
    "fit",
    "trained_once",
]

CAVEAT = "Classifier scores are of a network trained on this data set, not comparable with published ones."
"""The caveat that tables show with scores of the classifier."""
ARCHITECTURE = "conv-bn-64-v1"
"""Part of the cache's key: change it with anything that changes the trained weights."""
SEED = 20_170_901
WIDTH = 64
BATCH = 64
IMAGES_SEEN = 200_000
"""How many images training sees where the data set is large; small sets are seen up to `MOST_EPOCHS` times."""
FEWEST_EPOCHS, MOST_EPOCHS = 2, 12
LEARNING_RATE = 4e-3


class ClassifierNet(nn.Module):
    """A batch-normalised convolutional network that halves the image until it is about 4 x 4, doubling its width.

    Its features are the 64 averages over the last map, after the activation, as Inception's pool3 is.
    """

    def __init__(self, channels: int, smaller_side: int, classes: int) -> None:
        """Make the layers.

        Args:
            channels: c of the images.
            smaller_side: the smaller of h and w.
            classes: how many classes.
        """
        super().__init__()
        halvings = max(1, math.ceil(math.log2(max(smaller_side, 2) / 4)))
        widths = [max(16, WIDTH >> (halvings - level)) for level in range(halvings)] + [WIDTH]
        layers: list[nn.Module] = []
        before = channels
        for level, width in enumerate(widths):
            if level:
                layers.append(nn.MaxPool2d(2, ceil_mode=True))
            # Only one layer at full size, where a layer is most expensive and has the smallest receptive field.
            for _ in range(2 if level else 1):
                layers += [nn.Conv2d(before, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
                before = width
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(WIDTH, classes)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features [n, 64] and logits [n, classes] of images uint8 [n, c, h, w]."""
        features = self.body(images.float() / 127.5 - 1).mean(dim=(2, 3))
        return features, self.head(features)


class ClassifierExtractor:
    """The trained classifier as a score's extractor."""

    title = "classifier"
    keep = False
    batch = 500

    def __init__(self, network: ClassifierNet, classes: int, accuracy: float, device: torch.device) -> None:
        """Take a trained network.

        Args:
            network: trained.
            classes: the number of classes.
            accuracy: its test accuracy, measured when it was trained.
            device: where it runs.
        """
        self._network = network.to(device).eval()
        self._device = device
        self.classes = classes
        self.accuracy = accuracy
        self.key = f"classifier-{content_hash(network.state_dict())}"

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Features:
        """Features [n, 64] and logits [n, classes] of images uint8 [n, c, h, w]."""
        with torch.autocast(self._device.type, enabled=False):
            return Features(*self._network(images.to(self._device)))

    def classes_of(self, images: Tensor) -> Tensor:
        """The most probable class int64 [n], on the host, of any number of images uint8 [n, c, h, w]."""
        return torch.cat([self(batch).logits.argmax(1).cpu() for batch in torch.split(images, self.batch)])


class _TrainingSet(NamedTuple):
    """The data that determine the trained weights."""

    images: Tensor
    labels: Tensor
    classes: int


def content_key(train: ImageSet) -> str:
    """The cache key of the classifier of this training split: its images, labels, classes, and how it is trained."""
    return content_hash(ARCHITECTURE, str(SEED), str(len(train.classes)), train.images, train.labels)


def classifier(context: SampleContext) -> ClassifierExtractor:
    """The classifier of the context's data set, trained on its training split once for all processes and runs.

    It is kept as `<cache>/classifiers/<content key>.safetensors`, with its test accuracy in the notes. One process
    trains it while others wait, and all use the weights of that file. Different data sets never share a classifier.

    Raises:
        ScoreError: the data set has no labels, fewer than two classes, or labels out of range.
    """
    return context.once("classifier", lambda: trained_once(context, context.real("train"), context.real("test")))


def trained_once(context: SampleContext, train: ImageSet, test: ImageSet) -> ClassifierExtractor:
    """The classifier of these images and labels, kept as that of `classifier`.

    Args:
        context: its cache folder and device.
        train: images to train on, with labels.
        test: images whose accuracy goes into the notes; it is not a number if there are none.

    Raises:
        ScoreError: as `check_classes`.
    """
    check_classes(train)
    known = _TrainingSet(train.images, train.labels, len(train.classes))

    def make() -> tuple[dict[str, Tensor], dict[str, str]]:
        network = fit(known.images, known.labels, known.classes, context.device)
        trained = ClassifierExtractor(network, known.classes, math.nan, context.device)
        right = trained.classes_of(test.images) == test.labels.cpu()
        accuracy = float(right.float().mean())
        return dict(network.state_dict()), {"test_accuracy": repr(accuracy), "architecture": ARCHITECTURE}

    path = context.cache / "classifiers" / f"{content_key(train)}.safetensors"
    tensors, notes = keep_on_disk(path, make)
    network = _network(known)
    network.load_state_dict(tensors)
    return ClassifierExtractor(network, known.classes, float(notes["test_accuracy"]), context.device)


def check_classes(train: ImageSet) -> None:
    """Refuse images whose classes the classifier cannot learn.

    Raises:
        ScoreError: there are no labels, fewer than two classes, or labels out of range.
    """
    if len(train.classes) < 2:
        raise ScoreError(
            f"the classifier learns the classes of the data set, and this one has {len(train.classes)} "
            "(images without labels cannot be scored this way); give it labels, or score with another network: 'fid' "
            'with extractor = "random", which needs nothing, or with extractor = "inception", or \'inception_score\''
        )
    low, high = int(train.labels.min()), int(train.labels.max())
    if low < 0 or high >= len(train.classes):
        raise ScoreError(
            f"labels must be 0 to {len(train.classes) - 1}, the place of their class; the training split has "
            f"{low} to {high}; give every label a class name"
        )


def _network(known: _TrainingSet) -> ClassifierNet:
    _, c, h, w = known.images.shape
    return ClassifierNet(c, min(h, w), known.classes)


def fit(images: Tensor, labels: Tensor, classes: int, device: torch.device) -> ClassifierNet:
    """Train a classifier from a fixed seed, leaving the global generators as they were.

    Cross-entropy by AdamW under one cycle of the learning rate, on images shifted at random by up to an eighth of their
    side, which does not change the class. It computes with one thread, as sums of several threads round differently:
    on one processor, the network does not depend on their number.

    Args:
        images: uint8 [n, c, h, w].
        labels: int64 [n], from 0.
        classes: how many classes.
        device: where to train.

    Returns:
        The network in evaluation mode on `device`.
    """
    n = len(images)
    epochs = min(MOST_EPOCHS, max(FEWEST_EPOCHS, IMAGES_SEEN // n))
    batch = min(BATCH, n)
    generators = [device] if device.type == "cuda" else []
    with (
        _one_thread(),
        torch.random.fork_rng(devices=generators),
        torch.enable_grad(),
        torch.autocast(device.type, enabled=False),
    ):
        torch.manual_seed(SEED)
        network: ClassifierNet = _network(_TrainingSet(images, labels, classes)).to(device)
        images, labels = images.to(device), labels.to(device)
        optimiser = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=1e-2)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=epochs * (n // batch))
        for _ in range(epochs):
            order = torch.randperm(n).to(device)
            # Whole batches only: batch normalisation cannot be trained on a remainder of one image.
            for index in torch.split(order[: n // batch * batch], batch):
                _, logits = network(_shifted(images[index]))
                loss = functional.cross_entropy(logits, labels[index])
                optimiser.zero_grad()
                torch.autograd.backward(loss)
                optimiser.step()
                schedule.step()
    network.eval()
    return network


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _shifted(images: Tensor) -> Tensor:
    """The batch moved by up to an eighth of its side, its edges repeated."""
    h, w = images.shape[2:]
    down, across = h // 8, w // 8
    padded = functional.pad(images.float(), (across, across, down, down), mode="replicate")
    top = int(torch.randint(2 * down + 1, ()))
    left = int(torch.randint(2 * across + 1, ()))
    return padded[:, :, top : top + h, left : left + w]
