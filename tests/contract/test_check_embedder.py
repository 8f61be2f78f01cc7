"""The contract test of embedders finds each promise that is broken on purpose."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from genprior import Embedder, EmbedderConfig, EmbedderState, PlanError
from genprior.testing import ContractError, check_embedder


class Counts(Embedder):
    """A correct embedder: how often a sentence has each of the first `size` words of the captions, less their mean."""

    name = "test_counts"

    class Config(EmbedderConfig):
        size: int = 5

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.words: list[str] = []
        self.mean = torch.zeros(0)

    def fit(self, captions: Any) -> None:
        words = dict.fromkeys(word for caption in captions for word in caption.split())
        if len(words) < self.config.size:
            raise PlanError(f"only {len(words)} words")
        self.words = list(words)[: self.config.size]
        self.mean = self.counts(captions).mean(0)

    def counts(self, sentences: Any) -> torch.Tensor:
        return torch.tensor([[float(sentence.split().count(word)) for word in self.words] for sentence in sentences])

    def embed(self, sentences: Any) -> torch.Tensor:
        self.state()
        self.refuse_empty(sentences)
        return self.counts(sentences) - self.mean

    def state(self) -> EmbedderState:
        if not self.words:
            raise PlanError("fit it first")
        return EmbedderState({"mean": self.mean}, {"words": json.dumps(self.words)})

    def restore(self, state: EmbedderState) -> None:
        if len(json.loads(state.notes.get("words", "[]"))) != self.config.size:
            raise PlanError("another size")
        self.words, self.mean = json.loads(state.notes["words"]), state.tensors["mean"]


def test_what_is_not_broken_passes() -> None:
    check_embedder(Counts)
    check_embedder(Counts.Config(size=2), captions=["red", "green", "red green"])


def embed(change: Any) -> Any:
    return lambda self, sentences: change(Counts.embed(self, sentences))


def unguarded(self: Any, sentences: Any) -> Any:
    return self.counts(sentences) - (self.mean if self.words else 0)


def allows_empty(self: Any, sentences: Any) -> Any:
    self.state()
    return self.counts(sentences) - self.mean


def refuses_unknown_words(self: Any, sentences: Any) -> Any:
    if "?!" in sentences:
        raise KeyError("?!")
    return Counts.embed(self, sentences)


def noisy_fit(self: Any, captions: Any) -> None:
    Counts.fit(self, captions)
    self.mean = self.mean + torch.rand(())


def sorting_fit(self: Any, captions: Any) -> None:
    captions.sort()
    Counts.fit(self, captions)


def adding_fit(self: Any, captions: Any) -> None:
    before = self.mean.sum()
    Counts.fit(self, captions)
    self.mean = self.mean + before


def words_alone(self: Any) -> EmbedderState:
    return Counts.state(self)._replace(tensors={"mean": torch.zeros(self.config.size)})


def list_in_notes(self: Any) -> EmbedderState:
    return Counts.state(self)._replace(notes={"words": self.words})  # type: ignore[dict-item]


def shared_memory(self: Any) -> EmbedderState:
    return Counts.state(self)._replace(tensors={"mean": self.mean, "first": self.mean[:1]})


def takes_all(self: Any, state: EmbedderState) -> None:
    self.words, self.mean = json.loads(state.notes.get("words", "[]")), state.tensors.get("mean")


BROKEN: list[tuple[str, dict[str, Any], list[str]]] = [
    ("too wide", {"embed": embed(lambda v: torch.cat([v, v], 1))}, ["[288, 10]", "[288, 5]"]),
    ("float64", {"embed": embed(lambda v: v.double())}, ["float64", "float32"]),
    ("nan", {"embed": embed(lambda v: v * torch.nan)}, ["numbers are infinite or nan"]),
    ("gradient", {"embed": embed(lambda v: v * torch.ones((), requires_grad=True))}, ["with a gradient", "detach()"]),
    ("one vector", {"embed": embed(torch.zeros_like)}, ["the same vector for all 288 different captions"]),
    ("random", {"embed": embed(lambda v: v + torch.rand(()))}, ["other vectors the second time"]),
    (
        "batch",
        {"embed": embed(lambda v: v - v.mean(0))},
        ["embed of one caption alone", "depends only on its sentence"],
    ),
    ("order", {"embed": embed(lambda v: v + torch.arange(len(v))[:, None])}, ["embed of the captions in reverse"]),
    ("before fit", {"embed": unguarded}, ["embed before fit", "nothing was learned yet: a PlanError"]),
    (
        "state before fit",
        {"state": lambda s: EmbedderState({"mean": s.mean}, {"words": json.dumps(s.words)})},
        ["state() before fit"],
    ),
    ("empty", {"embed": allows_empty}, ["embed([''])", "a sentence without words is refused", "refuse_empty"]),
    ("unknown", {"embed": refuses_unknown_words}, ["embed(['?!']), whose words are in no caption", "KeyError"]),
    ("seed", {"fit": noisy_fit}, ["fitted to the same captions under two seeds", "draw nothing at random"]),
    ("changes captions", {"fit": sorting_fit}, ["fit(captions)", "it changed the list"]),
    ("adds up", {"fit": adding_fit}, ["embed after fit(other captions) and fit(captions)", "begin anew in fit"]),
    (
        "state is not all",
        {"state": words_alone},
        ["took the state from a file", "the state holds all that was learned"],
    ),
    (
        "no state",
        {"state": lambda s: dict(Counts.state(s).tensors)},
        ["an EmbedderState: tensors by name, and texts by name"],
    ),
    ("notes are lists", {"state": list_in_notes}, ["an EmbedderState: tensors by name, and texts by name", "JSON"]),
    ("shared memory", {"state": shared_memory}, ["safetensors: state() written to a file", "share memory"]),
    ("takes all", {"restore": takes_all}, ["restore(a state of another size)", "restore(a state without tensors"]),
]


@pytest.mark.parametrize(("what", "changes", "words"), BROKEN, ids=[what for what, *_ in BROKEN])
def test_what_is_broken_is_found(what: str, changes: dict[str, Any], words: list[str]) -> None:
    broken = type("Broken", (Counts,), {"name": "broken", **changes})
    with pytest.raises(ContractError) as caught:
        check_embedder(broken)
    for word in ["embedder 'broken'", *words]:
        assert word in str(caught.value)


def test_captions_that_are_too_few_are_told() -> None:
    with pytest.raises(
        ContractError, match=r"(?s)fitted to 1 captions.*PlanError: only 2 words.*learns from these captions"
    ):
        check_embedder(Counts, captions=["two words"])


def test_another_kind_is_refused() -> None:
    with pytest.raises(ContractError, match=r"an? embedder is needed here: a class derived from genprior.Embedder"):
        check_embedder(int)  # type: ignore[arg-type]
