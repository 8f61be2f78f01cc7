"""Runs conditioned on sentences: they resume bit for bit, and are sampled after the training captions are gone."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from genprior import EmbedderState, PlanError, RunError, hookimpl
from genprior.errors import DataError, RecipeError
from genprior.launch.preflight import preflight
from genprior.parts import Dataset, ImageSet, PartConfig
from genprior.recipe.load import load_recipe
from genprior.recipe.plan import Plan, RunConfig
from genprior.registry import Origin, load
from genprior.runs.folder import RunFolder
from genprior.runs.run import load_run
from genprior.runs.trainer import Trainer
from genprior_std.conditioners.sentence import Sentence
from genprior_std.games.nonsaturating import NonSaturating
from genprior_std.models.aae import AdversarialAutoencoder
from genprior_std.models.gan import GenerativeAdversarialNetwork
from genprior_std.networks.code_mlp import CodeCritic
from genprior_std.networks.image_mlp import MlpImageCritic
from genprior_std.networks.mlp_decoder import MlpDecoder
from genprior_std.networks.mlp_encoder import MlpEncoder
from genprior_std.optimisers.adam import Adam
from genprior_std.priors.code_generator import CodeGenerator
from genprior_std.reconstruction.pixel import Pixel

from ..small_embedder import HashedWords


class Greys(Dataset):
    """Forty bright and dark images of 4x4, with captions that say so."""

    name = "captioned_greys"
    gone = False

    class Config(PartConfig):
        """No settings."""

    def load(self, split):
        if self.gone:
            raise DataError("the images and captions are gone")
        bright = torch.arange(40) % 2
        noise = torch.randint(60, (40, 1, 4, 4), generator=torch.Generator().manual_seed(0))
        words = (("a dark image", "dark"), ("a bright image",))
        captions = tuple(words[each] for each in bright.tolist())
        return ImageSet((noise + 195 * bright[:, None, None, None]).byte(), bright, ("dark", "bright"), captions)


class Plugin:
    @hookimpl
    def genprior_parts(self, register):
        register(HashedWords)
        register(Greys)


@pytest.fixture
def registry(monkeypatch):
    found = load()
    found.add(Plugin(), Origin("own", "own 1.0"))
    monkeypatch.setattr(Greys, "gone", False)
    return found


SEES = MlpImageCritic.Config(hidden=(9, 8), conditional=True)
COMMON = {"code_size": 5, "prior": CodeGenerator.Config(noise=3), "image_critic": SEES, "mismatched_as_fake": True}
MODELS = {
    "aae": lambda **parts: AdversarialAutoencoder.Config(
        **COMMON,
        encoder=MlpEncoder.Config(hidden=(8,)),
        decoder=MlpDecoder.Config(hidden=(8,)),
        code_critic=CodeCritic.Config(hidden=(8,)),
        reconstruction=Pixel.Config(),
        code_game=NonSaturating.Config(),
        image_game=NonSaturating.Config(),
        improves={"prior": True, "decoder": True},
        info_weight=1 / 9,
        **parts,
    ),
    "gan": lambda **parts: GenerativeAdversarialNetwork.Config(
        **COMMON, decoder=MlpDecoder.Config(hidden=(8,)), game=NonSaturating.Config(), critic_steps=2, **parts
    ),
}
RUN = RunConfig(steps=4, batch=10, checkpoint_every=2, log_every=1, sample_every=100, ema=0.9)


def plan(model, reads):
    # No two words of the captions share one of nine columns.
    conditioner = Sentence.Config(embedder=HashedWords.Config(size=9), reads=reads, kept=30)
    return Plan(
        label="row",
        run=RUN,
        data=Greys.Config(),
        optimiser={"default": Adam.Config(lr=1e-3)},
        model=MODELS[model](conditioner=conditioner),
    )


@pytest.mark.usefixtures("no_curves")
@pytest.mark.parametrize(("model", "reads"), [("aae", "head"), ("aae", "critic"), ("gan", "critic")])
def test_four_steps_equal_two_and_two_and_the_run_is_sampled_without_its_captions(
    model, reads, registry, monkeypatch, tmp_path
):
    row = plan(model, reads)
    Trainer(row, 3, tmp_path / "once", registry=registry).run()
    Trainer(row, 3, tmp_path / "twice", registry=registry).run(until=2)
    Trainer(row, 3, tmp_path / "twice", registry=registry).run()
    once, twice = (
        load_file(tmp_path / name / "checkpoints" / "step-00000004.safetensors") for name in ("once", "twice")
    )
    assert once.keys() == twice.keys()
    assert [key for key in once if not torch.equal(once[key], twice[key])] == []
    kept = once["model/conditioner.kept"]
    assert kept.shape == (30, 9) and 2 <= len(kept.unique(dim=0)) <= 3

    monkeypatch.setattr(Greys, "gone", True)
    run = load_run(tmp_path / "once", registry=registry)
    assert run.sample(20, seed=1).shape == (20, 1, 4, 4)
    assert torch.equal(run.sample(6, seed=1), run.sample(20, seed=1)[:6])
    by_text = run.sample(6, seed=1, text="a bright image")
    assert torch.equal(by_text, run.sample(6, seed=1, text=["a bright image"]))
    assert not torch.equal(by_text, run.sample(6, seed=1, text="a dark image"))
    with pytest.raises(PlanError, match="conditioner 'sentence' takes a sentence, and no label; sample with --text"):
        run.sample(2, label="dark")
    with pytest.raises(
        PlanError, match="is asked by a sentence, and by no label such as '7'; give a text, in Python as"
    ):
        run.sample(2, label=7)


@pytest.mark.usefixtures("no_curves")
def test_a_lost_or_foreign_embedder_is_refused_and_the_training_command_restores_a_lost_one(registry, tmp_path):
    row, folder = plan("gan", "critic"), tmp_path / "run"
    Trainer(row, 3, folder, registry=registry).run()
    images = load_run(folder, registry=registry).sample(4, text="a bright image")
    path, before = folder / "embedder.safetensors", {each: each.read_bytes() for each in folder.rglob("*.*")}

    path.unlink()
    with pytest.raises(RunError, match="has no embedder.safetensors, without which its model cannot read text; give"):
        load_run(folder, registry=registry).sample(4, text="a bright image")
    Trainer(row, 3, folder, registry=registry).run()
    assert {each: each.read_bytes() for each in folder.rglob("*.*")} == before
    assert torch.equal(load_run(folder, registry=registry).sample(4, text="a bright image"), images)

    other = HashedWords.Config(size=9).make()
    other.fit(["another caption"])
    RunFolder(folder, registry).write_embedder(EmbedderState(other.state().tensors, {"of": "another run"}))
    foreign = path.read_bytes()
    message = "was trained with another embedder: its hash is [0-9a-f]{16}, and that of embedder.safetensors, or"
    with pytest.raises(RunError, match=message):
        load_run(folder, registry=registry).sample(4, text="a bright image")
    half = tmp_path / "half"
    Trainer(row, 3, half, registry=registry).run(until=2)
    (half / "embedder.safetensors").write_bytes(foreign)
    with pytest.raises(RunError, match=message):
        Trainer(row, 3, half, registry=registry).run()


@pytest.mark.usefixtures("no_curves")
def test_an_embedder_is_not_fitted_anew_to_other_captions(registry, monkeypatch, tmp_path):
    row = plan("gan", "critic")
    Trainer(row, 3, tmp_path, registry=registry).run(until=2)
    (tmp_path / "embedder.safetensors").unlink()
    monkeypatch.setattr(HashedWords, "state", lambda self: EmbedderState({"other": torch.ones(1)}, {}))
    with pytest.raises(RunError, match="or of the training captions, is [0-9a-f]{16}. Restore the file"):
        Trainer(row, 3, tmp_path, registry=registry).run()
    assert not (tmp_path / "embedder.safetensors").exists()


RECIPE = """
[run]
steps = 2
batch = 8
[data]
name = "digits"
size = 8
[optimiser.default]
lr = 1e-3
[model]
name = "gan"
prior = {{ name = "gaussian" }}
decoder = {{ name = "mlp", hidden = [8] }}
image_critic = {{ name = "image_mlp", hidden = [8], conditional = {sees} }}
game = {{ name = "nonsaturating" }}
conditioner = {{ name = "sentence", reads = "critic", embedder = {{ name = "hashed_words", size = 8 }} }}
[[row]]
label = "text"
"""


@pytest.mark.parametrize(
    ("sees", "data", "message"),
    [
        ("true", "digits", "conditioner 'sentence' needs captions of all images; this data set has none"),
        ("false", "captioned_greys", "and image critic 'image_mlp' does not see the sentence. Set conditional = true"),
    ],
)
def test_a_recipe_that_cannot_be_trained_is_refused_before_anything_is_written(sees, data, message, registry, tmp_path):
    path = tmp_path / "text.toml"
    text = RECIPE.format(sees=sees)
    path.write_text(text.replace('name = "digits"\nsize = 8', f'name = "{data}"') if data != "digits" else text)
    with pytest.raises(RecipeError, match=message):
        preflight(load_recipe(path, registry=registry))
    assert [each.name for each in tmp_path.iterdir()] == ["text.toml"]
