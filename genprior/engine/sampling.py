"""Sampling of images from a trained model."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from genprior.data.images import images_to_float, to_uint8
from genprior.data.notices import notice
from genprior.data.picture_files import named
from genprior.errors import PlanError
from genprior.parts import Batch, ImageSet, Model
from genprior.randomness import seeded

__all__ = ["CHUNK", "as_batch", "embedded_sentences", "evaluating", "generate", "generate_labels"]

CHUNK = 500
"""Images per batch; fixed, because the images of a seed depend on it."""


@contextlib.contextmanager
def evaluating(model: Model) -> Iterator[None]:
    """Evaluation mode without gradients inside the block; each module's mode is restored after it."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes.items():
            module.training = training


def generate(
    model: Model, n: int, *, seed: int, label: int | None = None, text: str | Sequence[str] | None = None
) -> Tensor:
    """The first n images of the sequence that a seed determines.

    Args:
        model: generates in evaluation mode, with running batch statistics.
        n: the number of images.
        seed: draws codes and conditions; a longer sequence begins with the shorter one.
        label: the class of the images; None draws conditions.
        text: a sentence that describes the images, or several, repeated in turn; None draws conditions.

    Returns:
        uint8 [n, c, h, w] on the host.

    Raises:
        PlanError: both label and text are given, the text is none, or the model takes no label, or no text.
    """
    device = next(model.parameters()).device
    sentences = None if text is None else embedded_sentences(model, text, label).to(device)
    chunks = []
    with evaluating(model):
        for start in range(0, n, CHUNK):
            like = torch.zeros(CHUNK, device=device)
            y = None if label is None else torch.full((CHUNK,), label, device=device, dtype=torch.int64)
            with seeded(seed, "generate", start // CHUNK):
                if sentences is None:
                    condition = model.condition(like, y)
                else:
                    turn = torch.arange(start, start + CHUNK, device=device) % len(sentences)
                    condition = model.condition_on_text(sentences.index_select(0, turn))
                images = to_uint8(model.generate(condition))
            chunks.append(images[: n - start].cpu())
    return torch.cat(chunks)


def embedded_sentences(model: Model, text: str | Sequence[str], label: Any = None) -> Tensor:
    """The vectors [m, size] of sentences on the host; a notice tells of words that the embedder does not know."""
    if label is not None:
        raise PlanError("a label and a text were given for the same images; give one of them")
    sentences = [text] if isinstance(text, str) else text
    if not isinstance(sentences, Sequence) or not all(isinstance(sentence, str) for sentence in sentences):
        given = repr(text)
        raise PlanError(
            f"text = {given if len(given) <= 60 else given[:60] + '...'} was given; give a sentence, or a list of "
            'sentences, such as text=["a red 7"]'
        )
    if not sentences:
        raise PlanError("an empty list of sentences was given; give at least one")
    if model.embedder is None:
        raise PlanError(
            f"model '{model.name}' of this run takes no text; sample without one, or train on captioned images with "
            "conditioner 'sentence'"
        )
    vectors = model.embedder.embed(sentences)
    if unknown := model.embedder.unknown_words(sentences):
        notice(
            f"embedder '{model.embedder.name}' does not know {'this word' if len(unknown) == 1 else 'these words'} of "
            f"the text and ignores {'it' if len(unknown) == 1 else 'them'}: {named(unknown)}"
        )
    return vectors


def generate_labels(model: Model, y: Tensor, *, seed: int, stream: str, whole_batches: bool = False) -> Tensor:
    """One image of each label, whose noise depends on the seed, the stream and the place of the label in y alone.

    So images of two labels at the same place share their noise.

    Args:
        model: generates in evaluation mode, with running batch statistics.
        y: labels, or categories that have no name, int64 [n].
        seed: draws the noise.
        stream: a name; other streams have other noise.
        whole_batches: whether the last batch is filled up and then cut, so that a longer sequence begins with the
            shorter one; without, it takes less time, and its noise depends on its size.

    Returns:
        uint8 [n, c, h, w] on the host.

    Raises:
        PlanError: the model cannot be asked for these labels.
    """
    device = next(model.parameters()).device
    chunks = []
    with evaluating(model):
        for number, labels in enumerate(torch.split(y.to(device), CHUNK)):
            filled = labels
            if whole_batches:
                filled = torch.cat([labels, labels[-1:].expand(CHUNK - len(labels))])
            with seeded(seed, f"{stream} condition", number):
                condition = model.condition(torch.zeros(len(filled), device=device), filled)
            with seeded(seed, f"{stream} noise", number):
                chunks.append(to_uint8(model.generate(condition))[: len(labels)].cpu())
    return torch.cat(chunks)


def as_batch(model: Model, images: ImageSet, device: torch.device | str) -> Batch:
    """Images as a batch of the model, each with the vector of its first caption if the model reads text.

    Args:
        model: its embedder makes the vectors.
        images: n of them, with their labels and, if the model reads text, their captions.
        device: where the model is.

    Raises:
        PlanError: the model is conditioned on text, and the images have no captions.
    """
    x = images_to_float(images.images.to(device))
    embedder, text = model.embedder, None
    if embedder is not None:
        if not images.captions:
            raise PlanError(
                f"model '{model.name}' is conditioned on text, and these images have no captions; use a data set with "
                "captions"
            )
        text = embedder.embed([some[0] for some in images.captions]).to(device)
    return Batch(x, images.labels.to(device), text=text)
