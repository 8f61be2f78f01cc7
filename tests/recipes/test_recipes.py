"""Every recipe that ships is loaded, and each of its rows takes a step, small and whole."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import genprior
from genprior.launch.preflight import preflight
from genprior.parts import ImageSet
from genprior.runs.trainer import Trainer

ROOT = Path(__file__).parents[2] / "recipes"
RECIPES = sorted(ROOT.rglob("*.toml"))
TABLE_3 = next(path for path in RECIPES if path.stem == "table3_ablation")


def test_all_recipes_are_here():
    assert [path.relative_to(ROOT).as_posix() for path in RECIPES] == [
        "aae_clustering.toml",
        "aae_clustering_literal.toml",
        "aae_dim_reduction.toml",
        "aae_label_info.toml",
        "aae_mnist_codes.toml",
        "aae_semi_supervised.toml",
        "aae_supervised.toml",
        "fig10_supervised.toml",
        "fig12_unsupervised.toml",
        "fig14_text.toml",
        "fig15_colours.toml",
        "fig8_codes.toml",
        "fig9_high_dimension.toml",
        "gans/began.toml",
        "gans/catgan.toml",
        "gans/dcgan.toml",
        "gans/dfm.toml",
        "gans/lsgan.toml",
        "gans/wgan_gp.toml",
        "gans/wgan_gp_plain.toml",
        "infogan_mnist.toml",
        "iwae_mnist.toml",
        "ncrp_digits.toml",
        "pixelgan_clustering.toml",
        "pixelgan_gaussian.toml",
        "pixelgan_semi_supervised.toml",
        "priors.toml",
        "table1_priors.toml",
        "table2_gans.toml",
        "table3_ablation.toml",
        "vae_gan.toml",
        "vampprior_mnist.toml",
    ]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_the_quick_version_of_every_row_takes_a_step(path):
    recipe = genprior.load_recipe(path, changes=["quick"])
    assert recipe.plans
    preflight(recipe)


def random_images(monkeypatch, channels, side):
    """Real images are not needed to see that the parts fit: random ones of the same form do."""
    images = torch.randint(256, (16, channels, side, side), dtype=torch.uint8)
    random = ImageSet(images, torch.arange(16) % 10, tuple("0123456789"))
    monkeypatch.setattr(Trainer, "images", lambda self, split: random)


def one_step(plan, folder):
    trainer = Trainer(plan, 0, folder)
    trainer.prepare()
    trainer.one_step()
    trainer.recorder.check(plan.label)


@pytest.mark.parametrize("change", [[], ["mnist"], ["printed"]], ids=["cifar10", "mnist", "printed"])
def test_the_full_table_builds_at_the_papers_sizes(change, tmp_path, monkeypatch):
    random_images(monkeypatch, 1 if "mnist" in change else 3, 32)
    recipe = genprior.load_recipe(TABLE_3, changes=change, settings=["run.batch=4"])
    assert [plan.label for plan in recipe.plans] == ["AAE", "A", "B", "C", "A+B", "A+C", "B+C", "A+B+C"]
    for plan in recipe.plans[:: 4 if "mnist" in change else 7]:
        one_step(plan, tmp_path)


def test_the_printed_encoder_and_decoder_have_no_batch_normalisation_in_their_blocks():
    recipe = genprior.load_recipe(TABLE_3, changes=["printed", "quick"])
    for plan in recipe.plans:
        encoder, decoder = plan.model.encoder, plan.model.decoder
        assert (encoder.stem_stride, encoder.batch_norm, encoder.width) == (2, False, 16)
        assert (decoder.batch_norm, decoder.width) == (False, 16)


def test_the_convolutional_networks_of_the_vampprior_take_a_step(tmp_path, monkeypatch):
    random_images(monkeypatch, 1, 28)
    path = next(path for path in RECIPES if path.stem == "vampprior_mnist")
    settings = ["run.batch=4", "model.encoder.width=4", "model.decoder.width=4", "data.validation=0"]
    recipe = genprior.load_recipe(path, changes=["convolutional"], settings=settings, rows=["VAE", "HVAE"])
    for plan in recipe.plans:
        one_step(plan, tmp_path / plan.label)
    assert recipe.row("HVAE").model.inner_encoder.small_kernels


def test_a_b_and_c_change_what_they_say_and_nothing_else():
    recipe = genprior.load_recipe(TABLE_3)
    base = recipe.row("AAE").model.model_dump()
    for plan in recipe.plans:
        model, letters = plan.model.model_dump(), set(plan.label) & set("ABC") if plan.label != "AAE" else set()
        differs = {key for key in base if model[key] != base[key]}
        expected = {"A": {"prior", "improves"}, "B": {"reconstruction"}, "C": {"improves"}}
        assert differs == set().union(*(expected[letter] for letter in letters), set())
        assert model["improves"] == {"prior": "A" in letters, "decoder": "C" in letters}
        assert plan.model_dump(exclude={"model", "label"}) == recipe.row("AAE").model_dump(exclude={"model", "label"})
