"""Embedders: sentences as vectors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

from pydantic import Field
from torch import Tensor

from genprior.errors import PlanError
from genprior.parts.base import Part, PartConfig

__all__ = ["Embedder", "EmbedderConfig", "EmbedderState"]


class EmbedderConfig(PartConfig):
    """The settings of an embedder; nest a subclass called `Config` in the embedder."""

    size: int = Field(default=200, gt=0)
    """The width of a vector."""


class EmbedderState(NamedTuple):
    """What an embedder has learned from captions; a run folder keeps it as `embedder.safetensors`."""

    tensors: dict[str, Tensor]
    """Numbers by name."""
    notes: dict[str, str]
    """Texts, such as a vocabulary in JSON."""


class Embedder(Part, ABC):
    """Makes vectors of sentences, after it has been fitted to the captions of the training images.

    The vector of a sentence depends on the fitted state and the sentence alone, not on the other sentences of a call.
    """

    kind = "embedder"
    Config: ClassVar[type[PartConfig]] = EmbedderConfig

    def __init__(self, config: PartConfig) -> None:
        """Hold the settings; nothing is read or loaded before `fit` or `restore`.

        Raises:
            PlanError: a package that it needs is not installed.
        """
        self.config: Any = config

    @abstractmethod
    def fit(self, captions: Sequence[str]) -> None:
        """Learn from the captions of the training images; the result depends on them and the settings alone.

        Args:
            captions: every caption of every training image, in their order.

        Raises:
            PlanError: the captions do not allow vectors of this width; the message says which widths are possible.
        """

    @abstractmethod
    def embed(self, sentences: Sequence[str]) -> Tensor:
        """The vectors of sentences, float32 [n, size] on the host; words that it does not know are ignored.

        Raises:
            PlanError: a sentence is empty, or neither `fit` nor `restore` was called before.
        """

    @abstractmethod
    def state(self) -> EmbedderState:
        """What `fit` has learned.

        Raises:
            PlanError: neither `fit` nor `restore` was called before.
        """

    @abstractmethod
    def restore(self, state: EmbedderState) -> None:
        """Take back a state; `embed` then returns the same vectors as the embedder that returned it from `state`.

        Raises:
            PlanError: the state is not one of this embedder with these settings.
        """

    def unknown_words(self, sentences: Sequence[str]) -> tuple[str, ...]:
        """The words that `embed` ignores in sentences that have other words that it knows; none by default."""
        return ()

    def refuse_empty(self, sentences: Sequence[str]) -> None:
        """Refuse sentences of which one has no words at all, but white space at most.

        Raises:
            PlanError: names the place of the first one.
        """
        for place, sentence in enumerate(sentences):
            if not sentence.strip():
                which = f"sentence {place + 1} of {len(sentences)}" if len(sentences) > 1 else "the sentence"
                raise PlanError(f"embedder '{self.name}': {which} is empty; write at least one word")
