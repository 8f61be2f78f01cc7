"""The contract of an embedder."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from genprior.errors import PlanError
from genprior.parts import Embedder, EmbedderState, PartConfig
from genprior.randomness import seeded
from genprior.testing.report import Contract, describe
from genprior.testing.settings import check_config, config_of

__all__ = ["check_embedder"]

COLOURS = "red orange yellow green blue indigo violet pink brown black white grey golden silver dark pale".split()
THINGS = "bird boat bridge car cat chair clock dog flower hat horse house lamp leaf mountain rose ship tree".split()
CAPTIONS = tuple(f"a {colour} {thing}" for thing in THINGS for colour in COLOURS)
"""Captions of 34 words whose pairs all differ, so that they allow vectors of 200 numbers where pairs of words count."""
UNKNOWN = ("xqzvw", "xqzvw, red!", "\u7ea2\u82b1 \u2014 \U0001f339", "?!")
"""Sentences of words that are in no caption, of another script, and of no letters."""
EMPTY = ("", " \n")
ROUNDING = 1e-4
"""Networks round a sentence otherwise beside longer ones; vectors have a standard deviation of about 1."""


def check_embedder(part: PartConfig | type[Embedder], *, captions: Sequence[str] | None = None) -> None:
    """Check that an embedder keeps its contract; see `genprior.Embedder`.

    Vectors are [n, size] in float32 on the host, finite and without a gradient, and not the same for all captions; the
    same sentences give the same vectors, and each vector depends only on its sentence (to four decimal places). Unknown
    words are harmless; an empty sentence is refused with a `PlanError`, and so are `embed` and `state` before `fit`.

    What is learned depends on the captions and the settings alone: not on the seed, nor on what was learned before. A
    state that was written to a safetensors file gives another instance exactly the same vectors. A state of another
    size, or without content, is refused with a `PlanError`.

    Args:
        part: the settings or the class.
        captions: to learn from, 288 short sentences by default; a large `size` needs more.

    Raises:
        ContractError: lists every promise that is broken.
    """
    config = config_of(part, Embedder)
    texts = list(CAPTIONS if captions is None else captions)
    contract = Contract(config.part, f"{config!r}, and fitted to {len(texts)} captions")
    check_config(contract, config)
    _check_before(contract, config, texts)
    fitted = _fitted(contract, config, texts, seed=0)
    if fitted is not None and not contract.failures:
        vectors = _check_vectors(contract, fitted, texts)
        if vectors is not None and not contract.failures:
            _check_rows(contract, fitted, texts, vectors)
            _check_sentences(contract, fitted, texts)
            _check_again(contract, config, fitted, texts, vectors)
            _check_state(contract, config, fitted, texts, vectors)
    contract.finish()


def _make(contract: Contract, config: PartConfig) -> Any:
    return contract.call(f"{config.part.__qualname__}(config)", config.make, "a part can be made")


def _fitted(contract: Contract, config: PartConfig, texts: list[str], seed: int) -> Any:
    """An instance that has learned from the captions; None where that fails."""
    made = _make(contract, config)
    if made is None:
        return None
    given = list(texts)
    with seeded("testing", seed):
        failures = len(contract.failures)
        contract.call("fit(captions)", lambda: made.fit(given), "it learns from these captions", optional=True)
    contract.require(
        given == texts, "fit(captions)", "it changed the list", "inputs are left unchanged", "work on a copy"
    )
    return made if len(contract.failures) == failures else None


def _refused(contract: Contract, called: str, function: Any, says: str, do: str) -> None:
    """Require that `function()` raises a `PlanError`."""
    came = ""
    try:
        came = describe(function())
    except PlanError:
        return
    except Exception as error:
        came = f"{type(error).__name__}: {error}"
    contract.require(False, called, came, f"{says}: a PlanError", do)


def _check_before(contract: Contract, config: PartConfig, texts: list[str]) -> None:
    made = _make(contract, config)
    if made is not None:
        do = "raise genprior.PlanError as long as neither fit nor restore was called"
        _refused(contract, "embed before fit", lambda: made.embed(texts[:1]), "nothing was learned yet", do)
        _refused(contract, "state() before fit", made.state, "nothing was learned yet", do)


def _embed(contract: Contract, called: str, embedder: Any, sentences: Sequence[str]) -> Tensor | None:
    """The vectors of sentences, if they have the right form."""
    value = contract.call(called, lambda: embedder.embed(list(sentences)), "embed returns vectors")
    shape = (len(sentences), embedder.config.size)
    if not contract.tensor(called, value, shape, torch.float32, "one vector for each sentence"):
        return None
    contract.require(
        value.device.type == "cpu" and not value.requires_grad,
        called,
        f"{describe(value)}{' with a gradient' if value.requires_grad else ''}",
        "vectors are on the host, and have no gradient",
        "return vectors.detach().cpu()",
    )
    vectors: Tensor = value
    return vectors


def _check_vectors(contract: Contract, embedder: Any, texts: list[str]) -> Tensor | None:
    called = f"embed({len(texts)} captions)"
    vectors = _embed(contract, called, embedder, texts)
    if vectors is None:
        return None
    contract.require(
        not torch.equal(vectors, vectors[:1].expand_as(vectors)),
        called,
        f"the same vector for all {len(set(texts))} different captions",
        "vectors tell captions apart",
        "let a vector depend on the words of its sentence",
    )
    again = _embed(contract, f"{called}, a second time", embedder, texts)
    contract.require(
        again is None or torch.equal(vectors, again),
        f"{called}, twice",
        "other vectors the second time",
        "the same sentences have the same vectors",
        "use no random draws, and put networks into evaluation mode",
    )
    return vectors


def _check_rows(contract: Contract, embedder: Any, texts: list[str], vectors: Tensor) -> None:
    last = len(texts) - 1
    for called, places in (
        ("embed of one caption alone", [0]),
        ("embed of the captions in reverse", list(range(last, -1, -1))),
        ("embed of every third caption", list(range(0, last, 3))),
    ):
        some = _embed(contract, called, embedder, [texts[place] for place in places])
        if some is not None:
            off = float((some - vectors[places]).abs().max())
            contract.require(
                off <= ROUNDING,
                called,
                f"a vector is off by {off:.3g} from the one of its caption among all",
                "a vector depends only on its sentence",
                "take no statistics over the sentences of a call; what is learned from captions is learned in fit",
            )


def _check_sentences(contract: Contract, embedder: Any, texts: list[str]) -> None:
    for sentence in UNKNOWN:
        _embed(contract, f"embed([{sentence!a}]), whose words are in no caption", embedder, [sentence])
    for sentence in EMPTY:
        for sentences in ([sentence], [texts[0], sentence]):
            _refused(
                contract,
                f"embed({sentences!r})",
                lambda sentences=sentences: embedder.embed(sentences),
                "a sentence without words is refused",
                "call self.refuse_empty(sentences) first",
            )


def _check_again(contract: Contract, config: PartConfig, embedder: Any, texts: list[str], vectors: Tensor) -> None:
    """Another instance under another seed, and one that has learned other captions before, learn the same."""
    again = _fitted(contract, config, texts, seed=1)
    if again is not None:
        found = _embed(contract, "embed, after another instance was fitted", again, texts)
        contract.require(
            found is None or torch.equal(found, vectors),
            "embed of two instances, fitted to the same captions under two seeds",
            "other vectors",
            "what is learned depends on the captions and the settings alone",
            "draw nothing at random in fit, or with a generator of a fixed seed of its own",
        )
        state = contract.call("state()", embedder.state)
        contract.call("fit(captions), a second time", lambda: again.fit(list(texts[::-1])), optional=True)
        contract.call("fit(captions), a third time", lambda: again.fit(list(texts)), optional=True)
        found = _embed(contract, "embed, after it was fitted again", again, texts)
        contract.require(
            found is None or state is None or torch.equal(found, vectors),
            "embed after fit(other captions) and fit(captions)",
            "other vectors than after fit(captions)",
            "fit replaces what was learned before",
            "begin anew in fit",
        )


def _check_state(contract: Contract, config: Any, embedder: Any, texts: list[str], vectors: Tensor) -> None:
    state = contract.call("state()", embedder.state)
    if state is None or not contract.require(
        isinstance(state, EmbedderState)
        and all(isinstance(key, str) and isinstance(value, Tensor) for key, value in state.tensors.items())
        and all(isinstance(key, str) and isinstance(value, str) for key, value in state.notes.items()),
        "state()",
        describe(state),
        "an EmbedderState: tensors by name, and texts by name",
        "return genprior.EmbedderState(tensors={...}, notes={...}), with tables as JSON",
    ):
        return
    read = contract.call("safetensors: state() written to a file and read again", lambda: _through_a_file(state))
    other = _make(contract, config)
    if read is None or other is None:
        return
    says, do = "restore takes what state returned", "keep all that embed needs in state()"
    failures = len(contract.failures)
    contract.call("restore(state)", lambda: other.restore(read), says, optional=True)
    if len(contract.failures) == failures:
        found = _embed(contract, "embed, after another instance took the state from a file", other, texts)
        contract.require(
            found is None or torch.equal(found, vectors),
            "embed, after another instance took the state from a file",
            "other vectors than those of the instance that was fitted",
            "the state holds all that was learned, so that a finished run embeds without its captions",
            do,
        )
    wider = config.model_copy(update={"size": config.size + 1})
    for called, refusing, bad in (
        ("restore(a state of another size)", wider, read),
        ("restore(a state without tensors and notes)", config, EmbedderState({}, {})),
    ):
        made = _make(contract, refusing)
        if made is not None:
            _refused(
                contract,
                called,
                lambda made=made, bad=bad: made.restore(bad),
                "a state that does not belong to these settings is refused",
                "compare the shapes and notes of the state with the settings, and raise genprior.PlanError",
            )


def _through_a_file(state: EmbedderState) -> EmbedderState:
    """Write a state as a run folder does, and read it."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "embedder.safetensors"
        save_file(dict(state.tensors), file, metadata=dict(state.notes))
        with safe_open(file, framework="pt") as held:
            return EmbedderState({key: held.get_tensor(key) for key in held.keys()}, dict(held.metadata() or {}))
