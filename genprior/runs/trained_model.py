"""A trained model on images of the user: codes, reconstructions, classes and scores, in batches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from itertools import cycle, islice, repeat
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genprior.data.images import to_uint8
from genprior.engine.sampling import CHUNK, embedded_sentences, evaluating
from genprior.errors import DataError, PlanError, whole_number
from genprior.parts import Batch, Condition, Conditioner, ImageSet, Model
from genprior.randomness import seeded
from genprior.runs.part_errors import naming_parts
from genprior.runs.pictures_given import Pictures, checked_pictures, given_codes, label_numbers, scaled
from genprior.runs.score_of_model import score_of_model, score_settings

__all__ = ["Label", "TrainedModel"]

Label = str | int
"""A class, by its name or index."""


class TrainedModel(ABC):
    """What a run's model does with images: a base of `Run`.

    Images have the run's size: uint8 [n, c, h, w], as `Run.sample` returns them, [n, h, w, c], or grey [n, h, w]; bool,
    or floating point with `range`, the values of black and white: (0, 1) or (-1, 1). Results are on the host.
    """

    folder: Path
    device: torch.device

    @property
    @abstractmethod
    def label(self) -> str:
        """The row's name."""

    @property
    @abstractmethod
    def seed(self) -> int:
        """The run's seed."""

    @property
    @abstractmethod
    def model(self) -> Model:
        """The model, on the device."""

    @property
    @abstractmethod
    def classes(self) -> list[str]:
        """The class names."""

    @property
    @abstractmethod
    def image_shape(self) -> tuple[int, int, int]:
        """(c, h, w) of the run's data."""

    @abstractmethod
    def label_index(self, label: str | int) -> int:
        """The index of a class."""

    @abstractmethod
    def images(self, split: str) -> ImageSet:
        """A split of the run's data set."""

    def encode(
        self,
        images: Pictures,
        *,
        label: Label | Sequence[Label] | Tensor | None = None,
        text: str | Sequence[str] | None = None,
        range: tuple[float, float] | None = None,  # noqa: A002 - the setting of the same name
    ) -> Tensor:
        """The mean code of each image.

        Args:
            images: n images.
            label: the class of all images or of each, for an encoder that sees it.
            text: a caption of all images or of each, for an encoder that sees it.
            range: the values of black and white of floating-point images.

        Returns:
            float32 [n, d].

        Raises:
            PlanError: the model has no encoder, or needs a label or text.
            DataError: the images have another shape, dtype or range.
        """
        batches = self._batches(images, range, label, text, conditional=True)
        return self._answers(batches, lambda batch: self.model.encode(batch), self._lacks("encoder"))

    def reconstruct(
        self,
        images: Pictures,
        *,
        label: Label | Sequence[Label] | Tensor | None = None,
        text: str | Sequence[str] | None = None,
        range: tuple[float, float] | None = None,  # noqa: A002
        seed: int = 0,
    ) -> Tensor:
        """The images encoded and decoded, uint8 [n, c, h, w].

        Args:
            images: n images.
            label: the class of all images or of each, for a model that sees it.
            text: a caption of all images or of each, for a model that sees it.
            range: the values of black and white of floating-point images.
            seed: draws codes, for a model that reconstructs from a draw.

        Raises:
            PlanError: the model has no encoder, or needs a label or text, or the seed is no whole number.
            DataError: the images have another shape, dtype or range.
        """
        seed = whole_number(seed, "seed", PlanError)
        batches = self._batches(images, range, label, text, conditional=True)
        answers = self._answers(
            batches, lambda batch: self.model.reconstruct(batch), self._lacks("encoder"), seed, "reconstruct"
        )
        return to_uint8(answers)

    def decode(
        self,
        codes: Tensor | np.ndarray,
        *,
        label: Label | Sequence[Label] | Tensor | None = None,
        text: str | Sequence[str] | None = None,
        seed: int = 0,
    ) -> Tensor:
        """The image of each code, uint8 [n, c, h, w].

        Args:
            codes: floating point [n, d], in the space of `encode`.
            label: the class of all images or of each; drawn under the seed by default, as in `sample`.
            text: a sentence for all images or for each; drawn under the seed by default.
            seed: draws conditions.

        Raises:
            PlanError: the model decodes no codes, the codes have another shape or dtype, or the model takes no label
                or no text.
        """
        seed = whole_number(seed, "seed", PlanError)
        z = self._codes(codes, seed)
        numbers, vectors = self._labels(label, len(z)), self._vectors(text, len(z), label)
        pieces = zip(torch.split(z, CHUNK), _split(numbers), _split(vectors), strict=False)
        chunks = []
        with naming_parts(self.label), evaluating(self.model):
            for number, (piece, y, sentences) in enumerate(pieces):
                with seeded(seed, "decode", number):
                    some = piece.to(self.device, torch.float32)
                    images = self.model.decode(some, self._condition(some, y, sentences))
                if images is None:
                    raise self._lacks("decoder of codes")
                chunks.append(to_uint8(images).cpu())
        return torch.cat(chunks)

    def interpolate(
        self,
        first: Pictures,
        second: Pictures,
        *,
        steps: int = 8,
        label: Label | Sequence[Label] | Tensor | None = None,
        text: str | Sequence[str] | None = None,
        range: tuple[float, float] | None = None,  # noqa: A002
    ) -> Tensor:
        """Images between pairs of images: decoded codes (1 - t) a + t b, t from 0 to 1, of their codes a and b.

        Args:
            first: n images, t = 0.
            second: n images, t = 1.
            steps: images for each pair, with both ends, at least 2.
            label: the class of all images or of each pair, for a model that sees it.
            text: a caption of all images or of each pair, for a model that sees it.
            range: the values of black and white of floating-point images.

        Returns:
            uint8 [n, steps, c, h, w].

        Raises:
            PlanError: the model has no encoder or no decoder of codes, or needs a label or text, or steps is no whole
                number of at least 2.
            DataError: the images have another shape, dtype or range, or are not equally many.
        """
        steps = whole_number(steps, "steps", PlanError, least=2)
        a = self.encode(first, label=label, text=text, range=range)
        b = self.encode(second, label=label, text=text, range=range)
        if len(a) != len(b):
            raise DataError(f"there are {len(a)} first and {len(b)} second images; give equally many")
        t = torch.linspace(0, 1, steps)[:, None]
        codes = (1 - t) * a[:, None] + t * b[:, None]
        numbers = self._labels(label, len(a))
        repeated = None if numbers is None else numbers.repeat_interleave(steps)
        sentences = text if text is None or isinstance(text, str) else list(islice(cycle(text), len(a)))
        if sentences is not None and not isinstance(sentences, str):
            sentences = [each for each in sentences for each in repeat(each, steps)]
        images = self.decode(codes.flatten(0, 1), label=repeated, text=sentences)
        return images.reshape(len(a), steps, *images.shape[1:])

    def predict(
        self,
        images: Pictures,
        *,
        range: tuple[float, float] | None = None,  # noqa: A002
    ) -> Tensor:
        """The most likely class of each image, int64 [n]: the indices of `classes`.

        Args:
            images: n images.
            range: the values of black and white of floating-point images.

        Raises:
            PlanError: the model has no classifier.
            DataError: the images have another shape, dtype or range.
        """
        batches = self._batches(images, range, None, None, conditional=False)
        return self._answers(batches, lambda batch: self.model.classify(batch), self._lacks("classifier")).argmax(1)

    def score(self, name: str, *, samples: int | None = None, **settings: Any) -> dict[str, float]:
        """Measure a score of the model, under the run's seed, as at the end of training.

        Args:
            name: the score's name in recipes.
            samples: the number of generated images, for a score that has this setting; few are quick and inexact.
            settings: other settings of the score.

        Returns:
            The numbers by name, as in `scores.json`.

        Raises:
            ScoreError: there is no such score or setting, or it cannot be measured on this run.
            DataError: the run's data is missing.
        """
        config = score_settings(name, samples, settings)
        with naming_parts(self.label):
            return score_of_model(config, self.model, self.images, device=self.device, seed=self.seed, row=self.label)

    def _batches(self, images: Pictures, bounds: Any, label: Any, text: Any, *, conditional: bool) -> list[Batch]:
        """The images as batches on the device, scaled to [-1, 1]."""
        x = checked_pictures(images, self.image_shape, bounds)
        if conditional:
            self._check_condition(label, text)
        y, vectors = self._labels(label, len(x)), self._vectors(text, len(x), label)
        y = torch.zeros(len(x), dtype=torch.int64) if y is None else y
        pieces = zip(torch.split(x, CHUNK), torch.split(y, CHUNK), _split(vectors), strict=False)
        return [
            Batch(
                scaled(some.to(self.device), bounds),
                own.to(self.device),
                text=None if captions is None else captions.to(self.device),
            )
            for some, own, captions in pieces
        ]

    def _check_condition(self, label: Any, text: Any) -> None:
        """Refuse to encode without the condition that the model's encoder is trained with."""
        conditioner = self.model.part_for("conditioner")
        if not isinstance(conditioner, Conditioner) or not conditioner.sizes.known:
            return
        if self.model.embedder is not None and text is None:
            raise PlanError(f"model '{self.model.name}' of this run sees captions of its images; give text=...")
        if self.model.asks.kind == "label" and label is None and conditioner.sizes.known:
            raise PlanError(
                f"model '{self.model.name}' of this run sees the labels of its images; give label=..., a class or one "
                "for each image"
            )

    def _labels(self, label: Any, n: int) -> Tensor | None:
        """The indices int64 [n] of classes that were given for all images or for each."""
        return label_numbers(label, n, self.label_index)

    def _vectors(self, text: Any, n: int, label: Any) -> Tensor | None:
        """The vectors of sentences, taken in turn, [n, size of the embedder]."""
        if text is None:
            return None
        with naming_parts(self.label):
            vectors = embedded_sentences(self.model, text, label)
        return vectors[torch.arange(n) % len(vectors)]

    def _condition(self, like: Tensor, y: Tensor | None, text: Tensor | None) -> Condition:
        if text is not None:
            return self.model.condition_on_text(text.to(self.device))
        return self.model.condition(like, None if y is None else y.to(self.device))

    def _codes(self, codes: Tensor | np.ndarray, seed: int) -> Tensor:
        """The codes as a tensor, if the model decodes them and they are finite numbers [n, d]."""
        z = given_codes(codes)
        with naming_parts(self.label), evaluating(self.model), seeded(seed, "width"):
            condition = self._condition(torch.zeros(1, device=self.device), None, None)
            drawn = self.model.draw_codes(condition)
            width = "d" if drawn is None else drawn.shape[1]
            if z.ndim != 2 or not z.is_floating_point() or width not in ("d", z.shape[1]) or not len(z):
                if drawn is not None and self.model.decode(drawn, condition) is None:
                    raise self._lacks("decoder of codes")
                kind = str(z.dtype).removeprefix("torch.")
                needed = f"floating point [n, {width}] is needed, n at least 1"
                raise PlanError(f"codes are {kind} {list(z.shape)}; {needed}")
        if not bool(z.isfinite().all()):
            raise PlanError("codes hold NaN or infinite numbers; give finite ones")
        return z

    def _answers(
        self,
        batches: Sequence[Batch],
        answer: Callable[[Batch], Tensor | None],
        missing: PlanError,
        seed: int = 0,
        stream: str = "answer",
    ) -> Tensor:
        """What the model answers for each batch, float32 on the host.

        Raises:
            PlanError: it answers None.
        """
        chunks = []
        with naming_parts(self.label), evaluating(self.model):
            for number, batch in enumerate(batches):
                with seeded(seed, stream, number):
                    out = answer(batch)
                if out is None:
                    raise missing
                chunks.append(out.float().cpu())
        return torch.cat(chunks)

    def _lacks(self, what: str) -> PlanError:
        return PlanError(
            f"model '{self.model.name}' of the run {self.folder} has no {what}, so it cannot do this; sample draws new "
            "images, and `genprior parts model` lists the models"
        )


def _split(values: Tensor | None) -> Iterable[Tensor | None]:
    """The values of each batch; None for every batch where there are none."""
    return repeat(None) if values is None else torch.split(values, CHUNK)
