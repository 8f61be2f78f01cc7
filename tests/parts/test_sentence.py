"""The conditioner on sentences: what it gives, keeps and reads, and what it refuses.

Statistical tests reject a right sampler with probability 0.1% under a random seed; their seeds are fixed.
"""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import stats
from torch.distributions import Independent, Normal

from genprior.data import notices
from genprior.engine.build import build_model
from genprior.engine.sampling import generate
from genprior.errors import PlanError
from genprior.parts import Batch, Borrowed, Critic, DataInfo, Sizes, Widths
from genprior.testing import check_conditioner
from genprior_std.conditioners.label import Label
from genprior_std.conditioners.none import NoCondition
from genprior_std.conditioners.sentence import Sentence
from genprior_std.games.nonsaturating import NonSaturating
from genprior_std.models.gan import GenerativeAdversarialNetwork
from genprior_std.networks.image_mlp import MlpImageCritic
from genprior_std.networks.mlp_decoder import MlpDecoder
from genprior_std.priors.categorical import Categorical
from genprior_std.priors.code_generator import CodeGenerator
from genprior_std.priors.mixture import Mixture
from genprior_std.priors.swiss_roll import SwissRoll

from ..small_embedder import HashedWords

ERROR_RATE = 1e-3
D = 6
WORDS = HashedWords.Config(size=D)
INFO = DataInfo((1, 4, 4), ("circle", "square"), captioned=True)
SENTENCES = ("a red circle on white", "one blue square", "a thick green circle", "thin black square on grey")
SIZES = Sizes(INFO.image, 8, D, D)


class Blind(Critic):
    """A critic without a trunk that ignores the condition."""

    name = "blind"

    @classmethod
    def sees_known(cls, config):
        return False

    def forward(self, x, known):
        return x.flatten(1).sum(1)


SEES = MlpImageCritic.Config(hidden=(7,), conditional=True)


def sentence(critic=SEES, **changes):
    torch.manual_seed(0)
    config = Sentence.Config(**{"embedder": WORDS, "kept": 5, **changes})
    image_critic = critic.make(SIZES).double()
    return config.make(SIZES, image_critic=Borrowed(image_critic)).double()


def images(n=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.rand(n, *INFO.image, dtype=torch.float64, generator=generator) - 1


def batch():
    text = HashedWords(WORDS).embed(SENTENCES)
    return Batch(images(len(SENTENCES)), torch.arange(len(SENTENCES)) % 2, text=text)


def few(n):
    """What a run with these four images gives to `begin`."""
    if n > len(SENTENCES):
        raise PlanError(f"{n} different training images are needed")
    chosen = torch.randperm(len(SENTENCES))[:n]
    return Batch(*(tensor[chosen] for tensor in batch()[:2]), text=batch().text[chosen])


@pytest.mark.parametrize("reads", ["head", "critic"])
def test_the_contract_holds(reads):
    critic = SEES.make(SIZES._replace(image=(1, 8, 8)))
    check_conditioner(
        Sentence.Config(embedder=WORDS, reads=reads, kept=20), labels=False, lend={"image_critic": critic}
    )


@given(size=st.integers(1, 300))
def test_widths_are_the_embedders_twice(size):
    config = Sentence.Config(embedder=HashedWords.Config(size=size))
    assert Sentence.widths(config, INFO) == Widths(size, size)


def test_data_without_captions_are_refused():
    with pytest.raises(PlanError) as caught:
        Sentence.widths(Sentence.Config(embedder=WORDS), INFO._replace(captioned=False))
    assert str(caught.value) == (
        "conditioner 'sentence' needs captions of all images; this data set has none. Use data set 'flowers102' or "
        "'captioned_digits', or give the images of 'folder' or 'arrays' captions in a captions.jsonl or metadata.csv; "
        "or use conditioner 'label' or 'infogan'"
    )


def test_a_caption_is_known_and_asked():
    known, asked = sentence()(batch())
    assert torch.equal(known, batch().text.double()) and torch.equal(asked, known)
    assert known.dtype == torch.float64


def test_a_sentence_is_known_and_asked():
    text = HashedWords(WORDS).embed(["a red square", "nothing that was ever seen"])
    known, asked = sentence().of_text(text)
    assert torch.equal(known, text) and torch.equal(asked, text)
    assert known.dtype == torch.float32


@pytest.mark.parametrize("use", ["forward", "begin"])
def test_images_without_captions_are_refused(use):
    part, bare = sentence(), batch()._replace(text=None)
    with pytest.raises(PlanError) as caught:
        part(bare) if use == "forward" else part.begin(lambda n: bare)
    assert str(caught.value) == (
        "conditioner 'sentence' needs the caption of every image, and these images have none. Use images with captions"
    )


def test_a_label_is_refused():
    with pytest.raises(PlanError) as caught:
        sentence().of_label(torch.tensor([0]))
    assert str(caught.value) == (
        "conditioner 'sentence' takes a sentence, and no label; sample with --text \"...\", without a condition, or "
        "train with conditioner 'label'"
    )


# ---------------------------------------------------------------------------------------------------------------------
# Sentences of training images
# ---------------------------------------------------------------------------------------------------------------------


def test_conditions_of_new_images_are_sentences_of_training_images_and_evenly_so():
    """Chi-square over four sentences; refused at random with probability 0.1%."""
    torch.manual_seed(1)
    part = sentence(kept=2000)
    part.begin(few)  # four images are enough for 2000 sentences
    known, asked = part.draw(torch.zeros(4000, dtype=torch.float64))
    assert torch.equal(known, asked)
    for drawn in (part.kept, known):
        same = (drawn[:, None] == batch().text.double()).all(2)
        assert (same.sum(1) == 1).all()
    counts = (part.kept[:, None] == batch().text.double()).all(2).sum(0)
    assert stats.chisquare(counts.numpy()).pvalue > ERROR_RATE


def test_conditions_are_drawn_evenly_from_the_kept_sentences():
    """Chi-square over five sentences; refused at random with probability 0.1%."""
    torch.manual_seed(2)
    part = sentence(kept=5)
    part.kept.copy_(torch.eye(5, D, dtype=torch.float64))
    drawn = part.draw(torch.zeros(4000, dtype=torch.uint8)).asked
    assert drawn.dtype == torch.float32
    assert stats.chisquare(drawn.sum(0)[:5].numpy()).pvalue > ERROR_RATE


def gan(**changes):
    return GenerativeAdversarialNetwork.Config(
        decoder=MlpDecoder.Config(hidden=(8,), conditional=True),
        image_critic=MlpImageCritic.Config(hidden=(8,), conditional=True),
        game=NonSaturating.Config(),
        **{
            "code_size": 4,
            "prior": CodeGenerator.Config(noise=3),
            "conditioner": Sentence.Config(embedder=WORDS, kept=7),
            **changes,
        },
    )


def test_a_restored_model_draws_the_same_conditions_without_captions():
    model, restored = build_model(gan(), INFO, 0), build_model(gan(), INFO, 1)
    torch.manual_seed(3)
    model.begin(few)
    restored.load_state_dict(model.state_dict())
    made = []
    for each in (model.eval(), restored.eval()):
        torch.manual_seed(4)
        made.append(each.generate(each.condition(torch.zeros(9))))
    assert torch.equal(*made)
    assert len(made[0].unique(dim=0)) > 1


def test_a_model_has_the_embedder_of_its_conditioner_and_makes_images_of_text():
    model = build_model(gan(), INFO, 0).eval()
    assert isinstance(model.embedder, HashedWords)
    text = model.embedder.embed(["a red circle", "one blue square"])
    made = []
    for rows in (text, text[[0, 0]]):
        torch.manual_seed(5)
        made.append(model.generate(model.condition_on_text(rows)))
    assert torch.equal(made[0][0], made[1][0])
    assert not torch.equal(made[0][1], made[1][1])
    assert build_model(gan(conditioner=Label.Config()), INFO, 0).embedder is None


@pytest.mark.parametrize("prior", [Categorical.Config(), Mixture.Config(components=WORDS.size), SwissRoll.Config()])
def test_a_prior_that_needs_a_one_hot_takes_no_sentence(prior):
    with pytest.raises(PlanError, match=f"prior '{prior.name}' needs a one-hot .*; the condition here has {D} numbers"):
        build_model(gan(prior=prior, code_size=2), INFO, 0)
    build_model(gan(prior=prior, code_size=2, conditioner=NoCondition.Config()), INFO, 0)


@pytest.mark.parametrize("text", [5, [5], ["a red circle", None], b"red", {"red"}])
def test_a_text_that_is_none_is_refused(text):
    with pytest.raises(PlanError) as caught:
        generate(build_model(gan(), INFO, 0), 2, seed=0, text=text)
    assert str(caught.value) == (
        f'text = {text!r} was given; give a sentence, or a list of sentences, such as text=["a red 7"]'
    )


def test_a_text_alone_is_one_sentence():
    model = build_model(gan(), INFO, 0).eval()
    made = generate(model, 3, seed=0, text="a red circle")
    assert torch.equal(made, generate(model, 3, seed=0, text=["a red circle"]))


def test_words_that_the_embedder_does_not_know_are_told_once(monkeypatch, caplog):
    notices._once.cache_clear()
    monkeypatch.setattr(HashedWords, "unknown_words", lambda self, sentences: tuple("abcdefg"[: len(sentences)]))
    model = build_model(gan(), INFO, 0).eval()
    for number in (1, 1, 7):
        generate(model, 2, seed=0, text=["red"] * number)
    assert caplog.messages == [
        "embedder 'hashed_words' does not know this word of the text and ignores it: a",
        "embedder 'hashed_words' does not know these words of the text and ignores them: a, b, c, d, e, and 2 more",
    ]


# ---------------------------------------------------------------------------------------------------------------------
# The head
# ---------------------------------------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 9))
def test_consistency_is_minus_the_log_density_of_a_gaussian_of_unit_variance_without_its_constant(seed, n):
    part, x = sentence(), images(n, seed)
    asked = torch.randn(n, D, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    mean = part.head(part.image_critic.trunk(x, x.new_zeros(n, D)))
    log_q = Independent(Normal(mean, 1.0), 1).log_prob(asked) + 0.5 * D * math.log(2 * math.pi)
    torch.testing.assert_close(part.consistency(x, asked), -log_q.mean())


def test_a_head_that_knows_nothing_pays_half_of_the_squared_length():
    part = sentence()
    torch.nn.init.zeros_(part.head.weight)
    torch.nn.init.zeros_(part.head.bias)
    unit = torch.nn.functional.normalize(torch.randn(4, D, dtype=torch.float64), dim=1)
    assert part.consistency(images(), unit).item() == pytest.approx(0.5)
    assert part.consistency(images(), torch.ones(4, D, dtype=torch.float64)).item() == pytest.approx(D / 2)


def test_consistency_gradient_is_right_and_reaches_images_head_and_trunk():
    part, asked = sentence(), batch().text.double()
    x = images().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: part.consistency(x, asked), x)
    trunk = next(part.image_critic.parameters())
    for gradient in torch.autograd.grad(part.consistency(x, asked), (x, part.head.weight, trunk)):
        assert gradient.abs().sum() > 0


def test_the_head_never_sees_the_sentence_of_a_conditional_critic():
    part, told = sentence(), []
    trunk = part.image_critic.trunk
    part.image_critic._module.trunk = lambda x, known: told.append(known) or trunk(x, known)
    part.consistency(images(), batch().text.double())
    assert [known.tolist() for known in told] == [torch.zeros(4, D).tolist()]


def test_a_critic_that_sees_the_sentence_needs_no_head():
    part = sentence(reads="critic")
    assert not list(part.parameters())
    assert part.consistency(images(), batch().text.double()) == 0
    assert torch.equal(part(batch()).known, batch().text.double())


def test_a_critic_that_is_to_see_the_sentence_and_does_not_is_refused():
    with pytest.raises(PlanError) as caught:
        sentence(MlpImageCritic.Config(hidden=(7,)), reads="critic")
    assert str(caught.value) == (
        "conditioner 'sentence' has reads = \"critic\", and image critic 'image_mlp' does not see the sentence. "
        'Set conditional = true in the table of image_critic, or reads = "head"'
    )


def test_a_critic_without_a_trunk_is_refused():
    with pytest.raises(PlanError) as caught:
        sentence(Blind.Config())
    assert str(caught.value) == (
        "conditioner 'sentence' puts its head on the trunk of the image critic; critic 'blind' has none. "
        'Use an image critic with features, or reads = "critic"'
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kept": 0}, "greater than 0"),
        ({"reads": "both"}, "Input should be 'head' or 'critic'"),
        ({"embedder": Label.Config()}, "an embedder is needed here; 'label' is a conditioner"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        Sentence.Config(**{"embedder": WORDS, **changes})
