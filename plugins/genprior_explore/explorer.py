"""A run to explore: noise, conditions and codes in, images out."""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from genprior import (
    Condition,
    DataError,
    PlanError,
    Run,
    as_batch,
    evaluating,
    load_run,
    principal_plane,
    seeded,
    to_uint8,
)
from genprior_explore.noise import GivenNoise

__all__ = ["Asked", "CodePlane", "Explorer", "noise_of", "open_explorer"]

NOISE = 1024
"""Numbers of noise for an image; a model takes as many of the first ones as it draws."""
SHOWN = 500
"""Codes in the picture of the code space."""
COUNTED = (5, 7)
"""Batch sizes at which noise is counted: what images share has a row for each image at one of them at most."""
_PROCESS = threading.Lock()
"""Held while a model computes: torch's random numbers are of the whole process."""


class Asked(NamedTuple):
    """What an image is asked for by."""

    label: int | None = None
    """The index of a class or category; drawn if not given."""
    text: str | None = None
    """A sentence; drawn if not given."""


NOTHING = Asked()
"""A condition that is drawn."""


class CodePlane(NamedTuple):
    """Codes in the plane of their principal components, or the codes themselves if they have two numbers."""

    points: Tensor
    """[n, 2]."""
    labels: Tensor
    """int64 [n]."""
    classes: tuple[str, ...]
    """Names of the labels; empty without any."""
    origin: Tensor
    """[d]."""
    axes: Tensor
    """[d, 2], orthonormal columns: a point is (z - origin) @ axes."""
    of_images: bool
    """Whether the codes are of test images, and not drawn with the prior."""

    def point(self, z: Tensor) -> Tensor:
        """The points [n, 2] of codes [n, d]."""
        return (z.detach().cpu().double() - self.origin) @ self.axes

    def moved(self, z: Tensor, point: Tensor) -> Tensor:
        """The codes nearest to z [n, d] that have the points [n, 2]: z + (point - point(z)) axes^T."""
        return (z.detach().cpu().double() + (point.double() - self.point(z)) @ self.axes.mT).to(z)


def noise_of(seed: int) -> Tensor:
    """The noise of a seed, standard normal numbers [NOISE]; the same for all models."""
    return torch.randn(NOISE, generator=torch.Generator().manual_seed(seed))


class Explorer:
    """The pictures of one run, each a function of the numbers that are given."""

    def __init__(self, run: Run) -> None:
        """Take a run.

        Raises:
            PlanError: its model does not generate from codes.
            RunError: it has no checkpoint.
        """
        self.run = run
        asked = Asked(0 if self.number else None, self.sentences[0] if self.takes_text else None)
        counts, everything_given = [], True
        for n in COUNTED:
            with self._alone(0):
                condition = self._condition(n, asked)
                with GivenNoise(torch.zeros(n, NOISE, device=run.device)) as given:
                    z = run.model.draw_codes(condition)
                counts.append(given)
                everything_given &= given.all_given
                image = None if z is None else run.model.decode(z, condition)
        if z is None or image is None:
            raise PlanError(
                f"the run {run.folder} (row '{run.label}') cannot be explored: its model '{run.model.name}' does not "
                "generate from codes. Models that draw a code with a prior and decode it can be; genprior sample draws "
                "images of this one"
            )
        first, second = counts
        self.width = first.taken if first.taken == second.taken else 0
        """Numbers of noise that the model takes for an image; 0 if none can be given."""
        self.all_given = self.width > 0 and everything_given
        """Whether all that the model draws is noise that can be moved."""
        self._shared = first.shared | second.shared
        self.code_size = z.shape[1]

    @property
    def moved(self) -> str:
        """What sliders move."""
        return "Noise" if self.width else "Code"

    @property
    def sliders(self) -> int:
        """How many numbers can be moved."""
        return self.width or self.code_size

    @property
    def title(self) -> str:
        """The row and the seed."""
        return f"{self.run.label}, seed {self.run.seed}"

    @property
    def number(self) -> int:
        """The number of labels or categories that images can be asked for by; 0 without any."""
        asks = self.run.model.asks
        return asks.number if asks.kind in ("label", "category") else 0

    @property
    def names(self) -> list[str]:
        """The names of the labels, or of the categories that were found without labels."""
        if self.run.model.asks.kind == "label":
            return [*self.run.classes][: self.number] or [str(i) for i in range(self.number)]
        return [f"category {i}" for i in range(self.number)]

    @property
    def takes_text(self) -> bool:
        """Whether images can be asked for by a sentence."""
        return self.run.model.asks.kind == "text" and self.run.model.embedder is not None

    @cached_property
    def sentences(self) -> list[str]:
        """A few captions of test images, to begin with."""
        try:
            captions = self.run.images("test").captions
        except DataError:
            captions = ()
        return [each[0] for each in captions[:5]] or ["an image"]

    def codes(self, noise: Tensor, asked: Asked = NOTHING, *, seed: int = 0) -> Tensor:
        """The codes of noise.

        Where a prior draws no noise that can be given, as one that rejects draws, the codes of the seed are moved by as
        much as the noise differs from that of the seed.

        Args:
            noise: standard normal numbers [n, m]; those beyond m are drawn under the seed.
            asked: the label or sentence of all images.
            seed: draws what cannot be given, such as the component of a mixture.

        Returns:
            [n, d].

        Raises:
            PlanError: the sentence is empty.
        """
        n, rows = len(noise), len(noise)
        while rows in self._shared:  # numbers that images share would be taken for a row for each image
            rows += 1
        given = torch.cat([noise, noise[-1:].expand(rows - n, -1)])[:, : None if self.width else 0]
        with self._alone(seed):
            condition = self._condition(rows, asked)
            with seeded(seed, "explore codes"), GivenNoise(given.to(self.run.device)):
                z = self.run.model.draw_codes(condition)
        assert z is not None  # noqa: S101 - __init__ has drawn some
        z = z[:n]
        if not self.width:
            shift = (noise - noise_of(seed))[:, : z.shape[1]].to(z)
            z = z + torch.nn.functional.pad(shift, (0, z.shape[1] - shift.shape[1]))
        return z

    def images(self, codes: Tensor, asked: Asked = NOTHING, *, seed: int = 0) -> Tensor:
        """The images of codes [n, d], uint8 [n, c, h, w] on the host.

        Raises:
            PlanError: the sentence is empty.
        """
        with self._alone(seed):
            images = self.run.model.decode(codes.to(self.run.device), self._condition(len(codes), asked))
        assert images is not None  # noqa: S101
        return to_uint8(images).cpu()

    def walk(self, ends: tuple[Tensor, Tensor], t: Tensor, asked: Asked = NOTHING, *, seeds: tuple[int, int]) -> Tensor:
        """Codes [len(t), d] between those of two noises [m], from t = 0 to t = 1.

        Where all that a model draws can be given, they are the codes of noise that stays standard normal,

            cos(t pi / 2) first + sin(t pi / 2) second,

        and otherwise (1 - t) a + t b of the codes a and b of the ends, each under its seed.
        """
        t = t.reshape(-1, 1)
        if self.all_given:
            angle = t * (math.pi / 2)
            return self.codes(angle.cos() * ends[0] + angle.sin() * ends[1], asked, seed=seeds[0])
        a, b = (self.codes(noise[None], asked, seed=seed) for noise, seed in zip(ends, seeds, strict=True))
        t = t.to(a)
        return (1 - t) * a + t * b

    @cached_property
    def plane(self) -> CodePlane | None:
        """The code space: test images, or codes drawn with the prior if they cannot be encoded; None of one number."""
        codes, labels, classes = self._encoded()
        of_images = codes is not None
        if codes is None:
            asked = Asked(0 if self.number else None, self.sentences[0] if self.takes_text else None)
            codes = self.codes(torch.stack([noise_of(i) for i in range(SHOWN)]), asked).float().cpu()
            labels, classes = torch.zeros(len(codes), dtype=torch.int64), ()
        if codes.shape[1] < 2 or not bool(codes.isfinite().all()):
            return None
        if codes.shape[1] == 2:
            origin, axes = torch.zeros(2, dtype=torch.float64), torch.eye(2, dtype=torch.float64)
        else:
            origin, axes = principal_plane(codes)
        return CodePlane((codes.double() - origin) @ axes, labels, classes, origin, axes, of_images)

    def _encoded(self) -> tuple[Tensor | None, Tensor, tuple[str, ...]]:
        """The mean codes of test images with their labels, where the model encodes into the space that it decodes."""
        nothing = torch.zeros(0, dtype=torch.int64)
        try:
            some = self.run.images("test").take(slice(SHOWN))
        except DataError:  # moved or deleted since training
            return None, nothing, ()
        with self._alone(0):
            codes = self.run.model.encode(as_batch(self.run.model, some, self.run.device))
            drawn = self.run.model.draw_codes(self._condition(1, Asked(0 if self.number else None)))
        if codes is None or drawn is None or codes.shape[1] != drawn.shape[1]:
            return None, nothing, ()
        return codes.float().cpu(), some.labels, some.classes

    def _condition(self, n: int, asked: Asked) -> Condition:
        """One condition for n images; what it draws beside the label or sentence is the same for all of them."""
        return Condition(*(part.expand(n, -1) for part in self._one_condition(asked)))

    def _one_condition(self, asked: Asked) -> Condition:
        model, like = self.run.model, torch.zeros(1, device=self.run.device)
        if self.takes_text and asked.text is not None:
            if not asked.text.strip():
                raise PlanError("the sentence is empty; describe an image, such as: " + self.sentences[0])
            embedder = model.embedder
            assert embedder is not None  # noqa: S101
            return model.condition_on_text(embedder.embed([asked.text]).to(like))
        label = asked.label if self.number else None
        return model.condition(like, None if label is None else torch.tensor([label], device=self.run.device))

    @contextlib.contextmanager
    def _alone(self, seed: int) -> Iterator[None]:
        """Evaluation mode without gradients under a seed, in one thread at a time."""
        with _PROCESS, evaluating(self.run.model), seeded(seed, "explore"):
            yield


def open_explorer(path: str | Path, *, device: str = "cpu") -> Explorer:
    """Load a run to explore; see `genprior.load_run`.

    Raises:
        PlanError: its model does not generate from codes.
        RunError: it is no run, or has no checkpoint.
    """
    return Explorer(load_run(path, device=device))
