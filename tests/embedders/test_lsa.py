"""Latent semantic analysis against scikit-learn's own pipeline, its state in a file, and what it refuses."""

from __future__ import annotations

import itertools
import json
import logging
import os
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from genprior import EmbedderState, PlanError, content_hash
from genprior.data import notices
from genprior_std.embedders import lsa
from genprior_std.embedders.lsa import LatentSemanticAnalysis

WORDS = "thick thin red green seven eight on black white paper slanted upright a the digit".split()


def drawn(n: int, seed: int = 0) -> list[str]:
    """Sentences of three to nine words, some more frequent than others."""
    draw = np.random.default_rng(seed)
    weights = 1 / np.arange(2, len(WORDS) + 2)
    return [" ".join(draw.choice(WORDS, draw.integers(3, 10), p=weights / weights.sum())) for _ in range(n)]


CAPTIONS = drawn(200)


def fitted(captions: list[str] = CAPTIONS, **config: Any) -> LatentSemanticAnalysis:
    made = LatentSemanticAnalysis.Config(**{"size": 6, **config}).make()
    made.fit(captions)
    return made


FITTED = fitted()


def by_scikit_learn(captions: list[str], sentences: list[str], size: int, ngrams: int) -> np.ndarray:
    """scikit-learn's vectors, moved and scaled as the docstring says; signs as they come."""
    vectorizer = TfidfVectorizer(token_pattern=r"(?u)\b\w+\b", ngram_range=(1, ngrams))
    reduced = TruncatedSVD(size, algorithm="randomized", n_iter=50, random_state=1)
    training = reduced.fit_transform(vectorizer.fit_transform(captions))
    scale = (size / np.square(training - training.mean(0)).sum(1).mean()) ** 0.5
    return scale * (reduced.transform(vectorizer.transform(sentences)) - training.mean(0))


# ---------------------------------------------------------------------------------------------------------------------
# What is computed
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ngrams", [1, 2, 3])
@pytest.mark.parametrize("exact", [True, False], ids=["exact", "ARPACK"])
@pytest.mark.parametrize("n", [60, 200], ids=["more terms", "more captions"])
def test_the_vectors_are_those_of_scikit_learn(ngrams: int, exact: bool, n: int, monkeypatch: Any) -> None:
    if not exact:
        monkeypatch.setattr(lsa, "EXACT", 0)
    sentences = [*drawn(20, seed=1), "red", "a purple seven", "RED, seven!"]
    found = fitted(CAPTIONS[:n], ngrams=ngrams).embed(sentences).numpy()
    expected = by_scikit_learn(CAPTIONS[:n], sentences, 6, ngrams)
    signs = np.sign((found * expected).sum(0))
    np.testing.assert_allclose(found * signs, expected, atol=1e-5)


def test_training_captions_have_mean_zero_and_a_mean_squared_length_of_size() -> None:
    vectors = fitted(size=9).embed(CAPTIONS).double()
    assert torch.allclose(vectors.mean(0), torch.zeros(9).double(), atol=1e-5)
    assert float(vectors.square().sum(1).mean()) == pytest.approx(9, rel=1e-5)


def test_distances_are_those_of_the_decomposition_but_for_one_factor() -> None:
    """With all directions there are, distances are those of the TF-IDF rows themselves."""
    captions = ["red seven", "red eight", "green seven", "seven", "a thin seven"]
    rows = torch.from_numpy(TfidfVectorizer(token_pattern=lsa.WORD).fit_transform(captions).toarray())
    vectors = fitted(captions, size=5, ngrams=1).embed(captions).double()
    ratios = torch.pdist(vectors) / torch.pdist(rows)
    assert torch.allclose(ratios, ratios.mean().expand_as(ratios), rtol=1e-5)


def test_each_direction_has_its_largest_weight_positive() -> None:
    directions = FITTED.state().tensors["directions"]
    largest = directions.gather(1, directions.abs().argmax(1, keepdim=True))
    assert bool((largest > 0).all())


def test_pairs_of_words_tell_which_of_two_colours_is_which() -> None:
    sentences = ["a red seven on white", "a white seven on red"]
    colours = ["red", "white", "green"]
    captions = [f"a {a} seven on {b}" for a, b in itertools.permutations(colours, 2)]
    words, pairs = (fitted(captions, size=3, ngrams=ngrams).embed(sentences) for ngrams in (1, 2))
    assert torch.allclose(words[0], words[1], atol=1e-5)
    assert float((pairs[0] - pairs[1]).norm()) > 1


def test_digits_and_letters_are_words_and_capitals_do_not_matter() -> None:
    captions = ["a 7", "a 8", "the 7", "the 8"]
    seven, eight, capital = fitted(captions, size=3, ngrams=1).embed(["a 7", "a 8", "A 7."])
    assert not torch.allclose(seven, eight)
    assert torch.equal(seven, capital)


def test_only_the_most_frequent_terms_count(monkeypatch: Any) -> None:
    monkeypatch.setattr(lsa, "TERMS", 2)
    made = fitted(["red seven", "red eight", "red seven seven"], size=2, ngrams=1)
    assert made.state().notes["terms"] == '["red", "seven"]'


# ---------------------------------------------------------------------------------------------------------------------
# Sentences
# ---------------------------------------------------------------------------------------------------------------------


@given(st.lists(st.text(min_size=1).filter(lambda text: text.strip()), min_size=1, max_size=5))
@settings(max_examples=60, deadline=None)
def test_any_sentence_has_a_finite_vector_that_depends_on_it_alone(sentences: list[str]) -> None:
    together = FITTED.embed(sentences)
    assert together.shape == (len(sentences), 6) and together.dtype == torch.float32
    assert bool(together.isfinite().all())
    for sentence, vector in zip(sentences, together, strict=True):
        assert torch.equal(FITTED.embed([sentence])[0], vector)


@given(
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=12), st.sampled_from(["zyxw", "\u7ea2", "\U0001f339 ", "_"])
)
@settings(max_examples=60, deadline=None)
def test_an_unknown_word_at_the_end_changes_nothing(words: list[str], unknown: str) -> None:
    sentence = " ".join(words)
    assert torch.equal(FITTED.embed([sentence]), FITTED.embed([f"{sentence} {unknown}"]))


def test_sentences_of_unknown_words_share_a_vector_and_are_told(caplog: pytest.LogCaptureFixture) -> None:
    notices._once.cache_clear()
    with caplog.at_level(logging.WARNING, logger="genprior"):
        vectors = FITTED.embed(["purple nine", "red seven", "?!"])
        FITTED.embed(["orange"])
    assert torch.equal(vectors[0], vectors[2])
    assert torch.allclose(vectors[0], -FITTED.state().tensors["mean"].float())
    assert [record.getMessage() for record in caplog.records] == [
        "embedder 'lsa': no word of 'purple nine', and of 1 more of 3 sentences, is in the training captions; it is "
        "embedded as a sentence without words",
        "embedder 'lsa': no word of 'orange' is in the training captions; it is embedded as a sentence without words",
    ]


def test_composed_and_decomposed_letters_are_one() -> None:
    words = ["caf\u00e9 au lait", "the th\u00e9 is green", "\u1e69ix tea", "caf\u00e9 th\u00e9"]
    forms = {form: [unicodedata.normalize(form, text) for text in words] for form in ("NFC", "NFD")}
    assert forms["NFC"] != forms["NFD"]
    made = {form: fitted(texts, size=2) for form, texts in forms.items()}
    wanted = made["NFC"].embed(forms["NFC"])
    assert all(torch.equal(each.embed(texts), wanted) for each in made.values() for texts in forms.values())
    assert made["NFD"].state().notes == made["NFC"].state().notes


def test_unknown_words_beside_known_ones_are_told() -> None:
    sentences = ["a Red caf\u00e9 seven", "purple nine", "Green cafe\u0301, OR mauve!", "white on red", "?!"]
    assert FITTED.unknown_words(sentences) == ("caf\u00e9", "or", "mauve")
    with pytest.raises(PlanError, match="has learned nothing yet"):
        LatentSemanticAnalysis.Config(size=6).make().unknown_words(["red"])


def test_no_sentences_have_no_vectors() -> None:
    assert FITTED.embed([]).shape == (0, 6)


# ---------------------------------------------------------------------------------------------------------------------
# Equal on every run
# ---------------------------------------------------------------------------------------------------------------------

PRINT_HASHES = """
import json, sys
from genprior import content_hash
from genprior_std.embedders import lsa

assert "sklearn" not in sys.modules  # it is slow to import, and parts are imported to be listed
captions = json.load(sys.stdin)
for lsa.EXACT in (2000, 0):
    made = lsa.LatentSemanticAnalysis.Config(size=20).make()
    made.fit(captions)
    print(content_hash(made.embed(captions), made.state().tensors))
"""


def test_a_process_of_two_threads_learns_the_same(monkeypatch: Any) -> None:
    hashes = []
    for exact in (2000, 0):
        monkeypatch.setattr(lsa, "EXACT", exact)
        made = fitted(size=20)
        hashes.append(content_hash(made.embed(CAPTIONS), made.state().tensors))
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "2")
    done = subprocess.run(
        [sys.executable, "-c", PRINT_HASHES],
        input=json.dumps(CAPTIONS),
        env={**os.environ, **threads, "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.split() == hashes
    assert hashes[0] != hashes[1]  # two methods, equal but for rounding


def test_a_state_from_a_file_gives_the_same_vectors(tmp_path: Path) -> None:
    captions = [*CAPTIONS, 'un "caf\u00e9" \u7ea2 \u0130stanbul']
    made, file = fitted(captions), tmp_path / "embedder.safetensors"
    state = made.state()
    save_file(state.tensors, file, metadata=state.notes)
    other = LatentSemanticAnalysis.Config(size=6).make()
    with safe_open(file, framework="pt") as held:
        other.restore(EmbedderState({key: held.get_tensor(key) for key in held.keys()}, held.metadata()))  # noqa: SIM118
    sentences = [*captions, *drawn(50, seed=2), "CAF\u00c9", "nothing known"]
    assert torch.equal(made.embed(sentences), other.embed(sentences))


# ---------------------------------------------------------------------------------------------------------------------
# What is refused
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("captions", "size", "message"),
    [
        (["red seven", "green seven", "red eight"], 200, r"has size = 200, and the 3 captions \(4 different terms\) "
         "allow 3 at most; set size to that or less, allow longer terms"),
        (["red red", "red"], 2, r"2 captions \(1 different terms\) allow 1 at most"),
        (["red", "red red"], 1, "the 2 captions all have the same words, so they tell no image from another"),
        (["?!", "..."], 1, "none of the 2 captions has a word, so there is nothing to learn"),
        ([], 1, "none of the 0 captions has a word"),
        (["red", " "], 1, "sentence 2 of 2 is empty; write at least one word"),
    ],
)  # fmt: skip
def test_captions_that_do_not_allow_vectors(captions: list[str], size: int, message: str) -> None:
    made = LatentSemanticAnalysis.Config(size=size, ngrams=1).make()
    with pytest.raises(PlanError, match=f"embedder 'lsa'.*{message}"):
        made.fit(captions)
    with pytest.raises(PlanError, match="has learned nothing yet"):
        made.state()


def test_as_many_directions_as_are_possible_can_be_had() -> None:
    captions = ["red seven", "green seven", "red eight"]
    assert fitted(captions, size=3, ngrams=1).embed(captions).shape == (3, 3)


@pytest.mark.parametrize("sentence", ["", "  ", "\n\t"])
def test_an_empty_sentence_is_refused(sentence: str) -> None:
    with pytest.raises(PlanError, match="embedder 'lsa': the sentence is empty; write at least one word"):
        FITTED.embed([sentence])


def test_nothing_is_embedded_before_it_has_learned() -> None:
    made = LatentSemanticAnalysis.Config(size=6).make()
    with pytest.raises(PlanError, match="embedder 'lsa' has learned nothing yet; call fit or restore first"):
        made.embed(["red"])


@pytest.mark.parametrize(
    ("config", "notes", "message"),
    [
        ({"size": 7}, {}, r"with size = 7 and ngrams = 2 cannot take this state, which is of embedder 'lsa' with "
         r"ngrams = 2, \d+ terms and directions \[6, \d+\], idf \[\d+\], mean \[6\]; use the embedder and the"),
        ({"ngrams": 1}, {}, "size = 6 and ngrams = 1 cannot take this state, .* with ngrams = 2"),
        ({}, {"embedder": "other"}, "is of embedder 'other'"),
        ({}, {"terms": "["}, "with ngrams = 2, 0 terms and"),
    ],
)  # fmt: skip
def test_a_state_of_other_settings_is_refused(config: Any, notes: dict[str, str], message: str) -> None:
    made = LatentSemanticAnalysis.Config(**{"size": 6, **config}).make()
    state = FITTED.state()
    state = EmbedderState(dict(sorted(state.tensors.items())), {**state.notes, **notes})
    with pytest.raises(PlanError, match=message):
        made.restore(state)
