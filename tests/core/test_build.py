"""Parts are built under their own seeds, and share lent modules."""

from __future__ import annotations

import copy

import pytest
import torch

import genprior
from genprior.engine.build import Builder, build_model
from genprior.engine.device import choose_device
from genprior.engine.precision import choose_precision
from genprior.errors import PlanError
from genprior.parts import (
    Batch,
    Borrowed,
    Condition,
    CriticSpec,
    DataInfo,
    Model,
    PartConfig,
    Phase,
    PriorSpec,
    ReconstructionSpec,
    Sizes,
)
from genprior.randomness import derive, seeded
from genprior.runs.trainer import Trainer
from genprior_std.networks.image_mlp import MlpImageCritic
from genprior_std.networks.mlp_encoder import MlpEncoder
from genprior_std.priors.code_generator import CodeGenerator
from genprior_std.priors.vampprior import VampPrior
from genprior_std.reconstruction.learned_similarity import LearnedSimilarity

SIZES = Sizes((1, 8, 8), 4, 0, 0)


def weights(module):
    return torch.cat([p.flatten() for p in module.parameters()])


def test_a_part_depends_on_seed_and_role_and_on_nothing_made_before():
    alone = Builder("m", 0)("prior", CodeGenerator.Config(), SIZES)
    second = Builder("m", 0)
    second("encoder", CodeGenerator.Config(), SIZES)
    assert torch.equal(weights(alone), weights(second("prior", CodeGenerator.Config(), SIZES)))
    assert not torch.equal(weights(alone), weights(Builder("m", 1)("prior", CodeGenerator.Config(), SIZES)))
    assert not torch.equal(weights(alone), weights(Builder("m", 0)("other", CodeGenerator.Config(), SIZES)))


def test_a_part_that_borrows_what_the_model_lacks_is_refused():
    build = Builder("vae", 0)
    build("prior", CodeGenerator.Config(), SIZES)
    with pytest.raises(PlanError) as caught:
        build("reconstruction", LearnedSimilarity.Config(), SIZES)
    assert str(caught.value) == (
        "reconstruction 'learned_similarity' borrows 'image_critic', which model 'vae' does not lend here. "
        "It lends: prior. Choose another reconstruction or another model."
    )


def test_a_borrowed_module_is_owned_by_its_owner_alone():
    build = Builder("m", 0)
    critic = build("image_critic", MlpImageCritic.Config(hidden=(6,)), SIZES)
    part = build("reconstruction", LearnedSimilarity.Config(layer="hidden1"), SIZES)
    assert list(part.parameters()) == [] and part.state_dict() == {}
    assert isinstance(part.image_critic, Borrowed)
    with torch.no_grad():
        for p in critic.parameters():
            p.zero_()
    assert part(torch.randn(3, 1, 8, 8), torch.randn(3, 1, 8, 8), torch.zeros(3, 0)).abs().sum() == 0
    assert copy.deepcopy(part).state_dict() == {}


def test_seeds_are_spread_and_the_generators_come_back():
    assert len({derive(seed, role) for seed in range(100) for role in ("a", "b")}) == 200
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    with seeded(0, "x"):
        first = torch.rand(2)
    assert torch.equal(torch.rand(2), expected)
    with seeded(0, "x"):
        assert torch.equal(torch.rand(2), first)


def test_a_phase_runs_in_every_so_manyth_step(tiny, tmp_path):
    trainer = Trainer(genprior.load_recipe(tiny).row("A+B+C"), 0, tmp_path)
    trainer.prepare()
    first, second = trainer.phases
    trainer.phases = (first, Phase(second.name, second.objectives, every=3))
    due = []
    for step in range(7):
        before = [p.clone() for p in trainer.model.image_critic.parameters()]
        trainer.one_step()
        if any(not torch.equal(a, b) for a, b in zip(before, trainer.model.image_critic.parameters(), strict=True)):
            due.append(step)
    assert due == [0, 3, 6]


def test_devices_and_precisions_that_are_asked_for():
    cpu = torch.device("cpu")
    assert choose_precision("fp32", cpu).dtype == torch.float32
    assert choose_precision("bf16", cpu).dtype == torch.bfloat16
    assert choose_device("cpu") == cpu
    if not torch.cuda.is_available():
        assert choose_device("auto") == cpu
        with pytest.raises(PlanError, match="--device cuda needs a GPU, but torch finds none here"):
            choose_device("cuda")


def test_parts_may_start_from_training_images_once_before_the_first_step(tiny, tmp_path, monkeypatch):
    """The parts that ask are given different images as they are trained on, the same ones under the same seed."""
    seen = []

    def begin(self, draw):
        seen.append(draw(5).x)
        with torch.no_grad():
            self.to_code.bias.fill_(float(len(seen)))

    monkeypatch.setattr(MlpEncoder, "begin", begin)
    (plan,) = genprior.load_recipe(tiny, rows=["AAE"]).plans
    Trainer(plan, 0, tmp_path / "run").run(until=1)
    trainer = Trainer(plan, 0, tmp_path / "run")
    trainer.run(until=2)
    assert torch.equal(seen[0], seen[1]) and seen[0].shape == (5, 1, 8, 8)
    assert len({tuple(x.flatten().tolist()) for x in seen[0]}) == 5
    assert trainer.model.encoder.to_code.bias.detach().mean() < 1.5  # a resumed run goes on from its checkpoint


def test_a_score_sees_averaged_weights_in_evaluation_mode_without_gradients(tiny, tmp_path):
    (plan,) = genprior.load_recipe(tiny, rows=["AAE"], settings=["run.ema=0.9", "optimiser.default.lr=0.05"]).plans
    trainer = Trainer(plan, 0, tmp_path)
    trainer.prepare()
    trainer.model.train()
    for _ in range(3):
        trainer.one_step()
    live = trainer.model.decoder.to_image[0].weight.detach().clone()
    with trainer.trained() as model:
        assert not model.training and not torch.is_grad_enabled()
        inside = model.decoder.to_image[0].weight.detach().clone()
        images = trainer.sample(3)  # lends the averages a second time
        assert torch.equal(model.decoder.to_image[0].weight, inside)
    assert not torch.equal(inside, live)
    assert torch.equal(trainer.model.decoder.to_image[0].weight, live) and trainer.model.training
    assert torch.equal(trainer.sample(3), images)


def test_all_parts_of_the_settings_are_made_and_a_borrower_waits():
    class Config(genprior.PartConfig):
        reconstruction: genprior.ReconstructionSpec
        encoder: genprior.EncoderSpec
        weight: float = 1.0
        image_critic: genprior.CriticSpec
        prior: genprior.PriorSpec

    model = torch.nn.Module()
    model.config = Config(
        reconstruction=LearnedSimilarity.Config(layer="hidden1"),
        encoder=MlpEncoder.Config(),
        image_critic=MlpImageCritic.Config(),
        prior=CodeGenerator.Config(),
    )
    Builder("m", 0).parts(model, SIZES, of={"prior": SIZES._replace(code=7)}, without=("encoder",))
    assert [name for name, _ in model.named_children()] == ["image_critic", "reconstruction", "prior"]
    assert model.prior.sizes.code == 7 and model.image_critic.sizes.code == SIZES.code


def test_parts_refuse_to_borrow_what_is_left_out():
    class Config(genprior.PartConfig):
        reconstruction: genprior.ReconstructionSpec
        image_critic: genprior.CriticSpec

    model = torch.nn.Module()
    model.config = Config(reconstruction=LearnedSimilarity.Config(), image_critic=MlpImageCritic.Config())
    with pytest.raises(PlanError, match="'learned_similarity' borrows 'image_critic'"):
        Builder("m", 0).parts(model, SIZES, without=("image_critic",))


def test_a_retired_setting_is_read_at_the_value_it_always_has_and_refused_at_another():
    class Old(genprior.Prior):
        name = "old"

        class Config(genprior.PartConfig):
            retired = {"spread": 2.0}

        def sample(self, asked):
            return asked

    assert Old.Config.model_validate({"name": "old", "spread": 2.0}) == Old.Config()
    with pytest.raises(ValueError, match="'spread' = 3.0, but this setting was removed: its value is always 2.0"):
        Old.Config.model_validate({"name": "old", "spread": 3.0})


class Three(Model):
    name = "three"

    class Config(PartConfig):
        reconstruction: ReconstructionSpec = LearnedSimilarity.Config(layer="hidden1")
        prior: PriorSpec = CodeGenerator.Config()
        image_critic: CriticSpec = MlpImageCritic.Config(hidden=(6,))

    def __init__(self, config, info, build):
        super().__init__(config)
        build.parts(self, Sizes(info.image, 4, 0, 0))

    def phases(self):
        return ()

    def generate(self, condition):
        raise NotImplementedError


def test_parts_in_roles_that_the_core_knows_answer_for_a_model():
    model = build_model(Three.Config(), DataInfo((1, 8, 8), ()), 0)
    assert model.part_for("prior") is model.prior and model.part_for("conditioner") is None
    nobody = Condition(torch.zeros(3, 0), torch.zeros(3, 0))
    assert model.draw_codes(nobody).shape == (3, 4)
    assert model.clusters(Batch(torch.zeros(3, 1, 8, 8), torch.zeros(3, dtype=torch.int64))) is None


def test_a_part_that_borrows_what_is_not_made_is_told_all_that_is():
    with pytest.raises(PlanError, match="borrows 'encoder', which model 'three' .* It lends: image_critic, reconstr"):
        build_model(Three.Config(prior=VampPrior.Config()), DataInfo((1, 8, 8), ()), 0)
