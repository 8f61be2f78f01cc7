"""Latent semantic analysis: sentences as vectors, from the training captions alone."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from torch import Tensor

from genprior import Embedder, EmbedderConfig, EmbedderState, PartConfig, PlanError, notice

__all__ = ["LatentSemanticAnalysis"]

WORD = r"(?u)\w+"
"""A word: letters and digits of any script; a single one counts, because "7" may be the whole point of a caption."""
TERMS = 20_000
"""At most so many terms, the most frequent ones: many captions have hundreds of thousands of word pairs."""
EXACT = 2000
"""Up to so many terms (or captions) the decomposition is exact; above, an iteration finds the leading directions."""
NEGLIGIBLE = 1e-6
"""A singular value below this share of the largest one is rounding, and its direction is arbitrary."""


class LatentSemanticAnalysis(Embedder):
    """Latent semantic analysis: TF-IDF of words and word pairs, reduced by a truncated singular value decomposition.

    A caption's row x counts each term (a lower-case word, or up to `ngrams` words in sequence), weighted by log((1 + n)
    / (1 + n_term)) + 1, and has length 1. With X = U S V^T over the n captions, the vector of a sentence is a (V^T x -
    mean) in the first `size` directions of V. The mean is that of the captions; a, one factor for all directions, makes
    their mean squared length `size`. Thus distances are those of the decomposition, and vectors are as long as noise
    from N(0, I) of the same width, beside which a code generator receives them. A sentence without any known word has
    the vector of x = 0.

    Sentences are first brought into the Unicode form NFC, so that a composed letter and its parts are one word.

    Only the 20,000 most frequent terms count. The decomposition is exact for up to 2000 terms or captions, and
    otherwise ARPACK's. Each direction has its largest weight positive. One thread computes it, without random draws, so
    that the result depends on neither.

    Source: Deerwester et al., "Indexing by latent semantic analysis", 1990; scikit-learn's `TfidfVectorizer` and
    `TruncatedSVD` compute the same.
    """

    name = "lsa"

    class Config(EmbedderConfig):
        """Settings of latent semantic analysis."""

        ngrams: int = Field(default=2, ge=1)
        """The longest sequence of words that is a term; with 1, "red on white" and "white on red" are the same."""

    def __init__(self, config: PartConfig) -> None:
        """Hold the settings."""
        super().__init__(config)
        self._state: EmbedderState | None = None
        self._vectorizer: Any = None

    def fit(self, captions: Sequence[str]) -> None:
        """Learn terms, their weights and directions from captions.

        Raises:
            PlanError: a caption is empty, or the captions have fewer independent directions than `size`.
        """
        self.refuse_empty(captions)
        vectorizer = self._made()
        try:
            counts = vectorizer.fit_transform(_composed(captions))
        except ValueError as error:  # scikit-learn's: an empty vocabulary, or no caption
            raise PlanError(
                f"embedder '{self.name}': none of the {len(captions)} captions has a word, so there is nothing to "
                "learn; give the images captions of words"
            ) from error
        directions = _directions(counts, self.config.size)
        if len(directions) < self.config.size:
            raise PlanError(
                f"embedder '{self.name}' has size = {self.config.size}, and the {len(captions)} captions "
                f"({counts.shape[1]} different terms) allow {len(directions)} at most; set size to that or less, "
                "allow longer terms (ngrams), or give more varied captions"
            )
        vectors = counts @ directions.T
        mean = vectors.mean(0)
        spread = float(np.square(vectors - mean).sum(1).mean())
        if spread <= NEGLIGIBLE**2:
            raise PlanError(
                f"embedder '{self.name}': the {len(captions)} captions all have the same words, so they tell no image "
                "from another; give the images captions that differ"
            )
        factor = (self.config.size / spread) ** 0.5
        terms = sorted(vectorizer.vocabulary_, key=vectorizer.vocabulary_.get)
        tensors = {
            "idf": torch.from_numpy(vectorizer.idf_),
            "directions": torch.from_numpy(factor * directions)
            .float()
            .contiguous(),  # the largest by far; 7 digits are enough
            "mean": torch.from_numpy(factor * mean),
        }
        notes = {"embedder": self.name, "ngrams": str(self.config.ngrams), "terms": json.dumps(terms)}
        self._use(EmbedderState(tensors, notes), terms)

    def embed(self, sentences: Sequence[str]) -> Tensor:
        """The vectors of sentences, float32 [n, size]; a notice tells of sentences without any known word.

        Raises:
            PlanError: a sentence is empty, or nothing was learned before.
        """
        state = self.state()
        self.refuse_empty(sentences)
        if not sentences:
            return torch.zeros(0, self.config.size)
        counts = self._vectorizer.transform(_composed(sentences))
        unknown = np.flatnonzero(counts.getnnz(axis=1) == 0)
        if len(unknown):
            notice(
                f"embedder '{self.name}': no word of '{sentences[unknown[0]]}'"
                f"{f', and of {len(unknown) - 1} more of {len(sentences)} sentences,' if len(unknown) > 1 else ''}"
                " is in the training captions; it is embedded as a sentence without words"
            )
        # SciPy multiplies a sparse row term by term, so that no vector depends on the other sentences.
        vectors = counts @ state.tensors["directions"].double().numpy().T - state.tensors["mean"].numpy()
        return torch.from_numpy(vectors).float()

    def unknown_words(self, sentences: Sequence[str]) -> tuple[str, ...]:
        """The words that are not among the terms, of sentences that have others that are, in their order."""
        self.state()
        terms = self._vectorizer.vocabulary
        unknown: dict[str, None] = {}
        for sentence in _composed(sentences):
            words = re.findall(WORD, sentence.lower())
            ignored = dict.fromkeys(word for word in words if word not in terms)
            if len(ignored) < len(set(words)):
                unknown |= ignored
        return tuple(unknown)

    def state(self) -> EmbedderState:
        """The terms, their weights `idf` [terms], the scaled `directions` [size, terms] and `mean` [size].

        Raises:
            PlanError: nothing was learned before.
        """
        if self._state is None:
            raise PlanError(f"embedder '{self.name}' has learned nothing yet; call fit or restore first")
        return self._state

    def restore(self, state: EmbedderState) -> None:
        """Take back a state.

        Raises:
            PlanError: it is of another embedder, of another `size` or other `ngrams`, or incomplete.
        """
        size, ngrams, notes = self.config.size, self.config.ngrams, state.notes
        terms = _terms(notes.get("terms", ""))
        shapes = {key: tuple(value.shape) for key, value in state.tensors.items()}
        needed = {"idf": (len(terms),), "directions": (size, len(terms)), "mean": (size,)}
        if (notes.get("embedder"), notes.get("ngrams"), shapes) != (self.name, str(ngrams), needed):
            told = ", ".join(f"{key} {list(shape)}" for key, shape in shapes.items())
            raise PlanError(
                f"embedder '{self.name}' with size = {size} and ngrams = {ngrams} cannot take this state, which is of "
                f"embedder '{notes.get('embedder', 'unknown')}' with ngrams = {notes.get('ngrams', 'unknown')}, "
                f"{len(terms)} terms and {told or 'no tensors'}; use the embedder and the settings of the run that it "
                "was saved with"
            )
        self._use(state, terms)

    def _made(self, terms: list[str] | None = None) -> Any:
        # Imported here, because scikit-learn takes a second to import and a plugin is imported to be listed.
        from sklearn.feature_extraction.text import TfidfVectorizer

        return TfidfVectorizer(
            token_pattern=WORD, ngram_range=(1, self.config.ngrams), max_features=TERMS, vocabulary=terms
        )

    def _use(self, state: EmbedderState, terms: list[str]) -> None:
        self._vectorizer = self._made(terms)
        self._vectorizer.idf_ = state.tensors["idf"].numpy()
        self._state = state


def _composed(sentences: Sequence[str]) -> list[str]:
    """The sentences in NFC, in which canonically equal letters are one; NFKC would also take x² for x2."""
    return [unicodedata.normalize("NFC", sentence) for sentence in sentences]


def _terms(text: str) -> list[str]:
    try:
        return list(json.loads(text))
    except ValueError:
        return []


def _directions(counts: Any, size: int) -> npt.NDArray[np.float64]:
    """The first right singular vectors of a sparse matrix [captions, terms], one a row, each with its sign fixed.

    There are `size` of them, or fewer where the rank is lower.
    """
    from threadpoolctl import threadpool_limits

    least = min(counts.shape)
    with threadpool_limits(limits=1):  # sums over several threads are rounded in another order
        if least <= max(EXACT, size):
            singular, rows = _exact(counts)
        else:
            from sklearn.decomposition import TruncatedSVD

            found = TruncatedSVD(size, algorithm="arpack", random_state=0).fit(counts)
            singular, rows = found.singular_values_, found.components_
    rows = rows[:size][singular[:size] > NEGLIGIBLE * singular[0]]
    largest = np.take_along_axis(rows, np.abs(rows).argmax(1)[:, None], 1)
    signed: npt.NDArray[np.float64] = rows * np.sign(largest)
    return signed


def _exact(counts: Any) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """All singular values, the largest first, and right singular vectors, from the smaller of X^T X and X X^T."""
    by_terms = counts.shape[1] <= counts.shape[0]
    squares, vectors = np.linalg.eigh((counts.T @ counts if by_terms else counts @ counts.T).toarray())
    singular, vectors = np.sqrt(squares[::-1].clip(0)), vectors[:, ::-1]
    if by_terms:
        return singular, vectors.T
    positive = singular > NEGLIGIBLE * singular[0]
    return singular[positive], (counts.T @ vectors[:, positive]).T / singular[positive, None]
