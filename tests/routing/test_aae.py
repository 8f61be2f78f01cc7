"""Modules updated in each phase of the adversarial autoencoder, in all rows of Table 3 and with every condition."""

from __future__ import annotations

import itertools

import pytest
import torch

import genprior
from genprior.engine.step import run_phase
from genprior.errors import RecipeError
from genprior.launch.preflight import preflight
from genprior.runs.trainer import Trainer

from ..small import moved, snapshot

CONDITIONERS = {
    "none": '{name="none"}',
    "label": '{name="label"}',
    "infogan": '{name="infogan",categorical=[3],continuous=1}',
    "supervised": '{name="infogan",supervised=true}',
}
ROWS = ["".join(letters) for n in range(4) for letters in itertools.combinations("ABC", n)]


def trainer_of(tiny, letters, conditioner, tmp_path, *settings):
    changes = list(letters)
    recipe = genprior.load_recipe(
        tiny, rows=["AAE"], changes=changes, settings=[f"model.conditioner={CONDITIONERS[conditioner]}", *settings]
    )
    trainer = Trainer(recipe.plans[0], 0, tmp_path)
    trainer.prepare()
    # Plain gradient descent without moments: a module moves exactly if it got a gradient.
    trainer.optimisers = {
        name: torch.optim.SGD(module.parameters(), lr=0.1)
        for name, module in trainer.modules.items()
        if list(module.parameters())
    }
    return trainer


@pytest.mark.parametrize("conditioner", CONDITIONERS)
@pytest.mark.parametrize("letters", ROWS, ids=lambda letters: letters or "AAE")
def test_each_phase_moves_exactly_what_the_paper_moves(letters, conditioner, tiny, tmp_path):
    trainer = trainer_of(tiny, letters, conditioner, tmp_path)
    has_head = conditioner in ("infogan", "supervised")
    expected = {"regularise": {"encoder", "decoder", "code_critic"}}
    if letters or has_head:
        expected["improve_prior"] = (
            {"image_critic"}
            | ({"prior"} if "A" in letters else set())
            | ({"decoder"} if "C" in letters else set())
            | ({"conditioner"} if has_head else set())
        )
    assert [phase.name for phase in trainer.phases] == list(expected)
    for phase in trainer.phases:
        before = snapshot(trainer.modules)
        run_phase(phase, trainer.data.batch(0), trainer.modules, trainer.optimisers)
        assert moved(trainer.modules, before) == expected[phase.name]


def test_the_image_critic_exists_only_where_something_needs_it(tiny, tmp_path):
    assert "image_critic" not in trainer_of(tiny, "", "none", tmp_path).modules
    for letters in ("A", "B", "C"):
        assert "image_critic" in trainer_of(tiny, letters, "none", tmp_path).modules


def test_the_reconstruction_reaches_encoder_and_decoder_through_the_critic_and_not_the_critic(tiny, tmp_path):
    trainer = trainer_of(tiny, "ABC", "none", tmp_path)
    model, batch = trainer.model, trainer.data.batch(0)
    objectives = dict((p.name, p) for p in trainer.phases)["regularise"].objectives(batch)
    assert "image_critic" not in objectives
    rec = objectives.note["reconstruction"]
    for role in ("encoder", "decoder"):
        gradients = torch.autograd.grad(
            rec, list(getattr(model, role).parameters()), retain_graph=True, allow_unused=True
        )
        assert any(g is not None and g.abs().sum() > 0 for g in gradients)
    assert not list(model.reconstruction.parameters())
    assert "reconstruction.image_critic" not in dict(model.named_modules())


def test_the_learned_prior_is_the_positive_sample_of_the_code_game(tiny, tmp_path):
    """Descending the code critic's loss raises its logit of prior codes and lowers that of encoded images."""
    trainer = trainer_of(tiny, "ABC", "none", tmp_path)
    model, batch = trainer.model, trainer.data.batch(0)
    known = batch.x.new_zeros(len(batch.x), 0)
    with torch.no_grad():
        torch.manual_seed(5)
        z_prior, z = model.prior.sample(known), model.encoder(batch.x, known).rsample()

    def gap():
        with torch.no_grad():
            return (model.code_critic(z_prior, known).mean() - model.code_critic(z, known).mean()).item()

    before = gap()
    for _ in range(20):
        loss = model.code_game.critic_loss(model.code_critic, (z_prior, known), (z, known))
        gradients = torch.autograd.grad(loss, list(model.code_critic.parameters()))
        with torch.no_grad():
            for p, g in zip(model.code_critic.parameters(), gradients, strict=True):
                p -= 0.1 * g
    assert gap() > before + 0.1


@pytest.mark.parametrize("on", [True, False])
def test_reconstructions_are_fakes_only_where_asked(on, tiny, tmp_path):
    trainer = trainer_of(tiny, "ABC", "none", tmp_path, f"model.reconstruction_as_fake={str(on).lower()}")
    seen = []
    critic = trainer.model.image_critic
    critic.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    trainer.phases[1].objectives(trainer.data.batch(0))
    assert len(seen) == 2 + on  # real images, decoded prior codes, and reconstructions where asked: each scored once


def test_the_supervised_code_critic_is_told_the_label_and_the_image_critic_is_not(tiny, tmp_path):
    trainer = trainer_of(tiny, "ABC", "supervised", tmp_path)
    model, batch = trainer.model, trainer.data.batch(0)
    told = {}
    for role in ("code_critic", "image_critic"):
        getattr(model, role).register_forward_hook(
            lambda module, inputs, output, role=role: told.setdefault(role, inputs[1])
        )
    for phase in trainer.phases:
        phase.objectives(batch)
    assert torch.equal(told["code_critic"].argmax(1), batch.y)
    assert model.code_critic.config.conditional and not model.image_critic.config.conditional


def test_a_likelihood_that_learns_its_width_is_refused(tiny):
    setting = 'model.reconstruction={name="pixel",metric="gaussian",variance="shared"}'
    with pytest.raises(RecipeError) as caught:
        preflight(genprior.load_recipe(tiny, rows=["AAE"], settings=[setting]))
    assert (
        "reconstruction 'pixel' learns the width of its density, which only a likelihood bound can train; model "
        "'aae' has none. Set its variance (or learned) to \"fixed\", or use model 'vae'"
    ) in str(caught.value)
