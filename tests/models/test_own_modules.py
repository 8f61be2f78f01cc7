"""A model with a codebook, as a plugin has it: seeded, optimised, kept in checkpoints, trained and sampled."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

import genprior
from genprior import DataInfo, Model, Objectives, Phase, PlanError, RecipeError, Sizes
from genprior.engine.build import Builder, build_model
from genprior.engine.step import run_phase
from genprior.parts import PartConfig
from genprior.recipe.tables import model_settings
from genprior.registry import GROUP, installed
from genprior.runs.row_training import RowTraining
from genprior.testing import ContractError, check_model

from ..contract.right_parts import Auto, LinearDecoder, LinearEncoder, Normal
from ..small import moved, sgd, snapshot

ROOT = Path(genprior.__file__).parents[1]
INFO = DataInfo((1, 4, 4), ())
SIZES = Sizes((1, 4, 4), 3, 0, 0)

RECIPE = """
title = "a codebook"
data = { name = "digits", size = 8 }
run = { steps = 4, batch = 16, seeds = [0], ema = 0.9, precision = "fp32" }
[optimiser]
default = { name = "adam", lr = 1e-3 }
codebook = { lr = 1e-2 }
[model]
name = "vector_quantised"
vectors = 5
encoder = { name = "mlp", hidden = [16] }
decoder = { name = "mlp", hidden = [16] }
"""


@pytest.fixture
def recipe(tmp_path, monkeypatch, no_curves):
    """A recipe of the guide's model, whose package is installed."""
    guide = (ROOT / "docs" / "writing-a-plugin.md").read_text(encoding="utf-8")
    (code,) = [code for code in re.findall(r"```python\n(.*?)```", guide, re.DOTALL) if "class VectorQuantised" in code]
    hook = (
        "\n\nfrom genprior import hookimpl\n@hookimpl\ndef genprior_parts(register):\n    register(VectorQuantised)\n"
    )
    site = tmp_path / "site"
    info = site / "genprior_vq-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "fake_genprior_vq.py").write_text(code + hook)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: genprior-vq\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{GROUP}]\nvq = fake_genprior_vq\n")
    monkeypatch.syspath_prepend(site)
    installed.cache_clear()
    (tmp_path / "vq.toml").write_text(RECIPE)
    yield genprior.load_recipe(tmp_path / "vq.toml")
    sys.modules.pop("fake_genprior_vq")
    installed.cache_clear()


def test_it_trains_and_its_codebook_is_optimised_averaged_and_kept(recipe, tmp_path):
    genprior.train(recipe, out=tmp_path / "runs", device="cpu")
    folder = tmp_path / "runs" / "base" / "seed-0"
    (file,) = sorted((folder / "checkpoints").glob("*.safetensors"))
    with safe_open(file, framework="pt") as held:
        keys = [key for key in held.keys() if "codebook" in key]  # noqa: SIM118
    assert {"model/codebook.weight", "optimiser/codebook/weight/exp_avg"} <= set(keys)
    assert any(key.startswith("average/codebook") for key in keys)
    run = genprior.load_run(folder)
    images = run.sample(20)
    assert images.shape == (20, 1, 8, 8)
    assert len({tuple(image.flatten().tolist()) for image in images}) <= 5


def test_its_phase_moves_the_codebook_and_the_networks(recipe):
    model = build_model(recipe.plans[0].model, DataInfo((1, 8, 8), ()), 0)
    modules = dict(model.named_children())
    before = snapshot(modules)
    (phase,) = model.phases()
    x = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    run_phase(phase, genprior.Batch(x, torch.zeros(6, dtype=torch.int64)), modules, sgd(modules))
    assert moved(modules, before) == {"encoder", "decoder", "codebook"}


def test_an_optimiser_of_a_module_that_does_not_exist_is_refused(recipe, tmp_path):
    (tmp_path / "wrong.toml").write_text(RECIPE.replace("codebook = {", "codebok = {"))
    with pytest.raises(RecipeError, match=r"optimiser.codebok is not .*Possible: .*, codebook"):
        genprior.train(genprior.load_recipe(tmp_path / "wrong.toml"), out=tmp_path / "runs", device="cpu")


def test_a_module_depends_on_seed_and_role_and_on_nothing_made_before():
    def codebook(build):
        return build.module("codebook", lambda: torch.nn.Embedding(7, 3)).weight

    alone, second, other = Builder("m", 0), Builder("m", 0), Builder("m", 1)
    second("encoder", LinearEncoder.Config(), SIZES)
    torch.rand(5)
    assert torch.equal(codebook(alone), codebook(second))
    assert not torch.equal(codebook(alone), codebook(other))
    before = torch.get_rng_state()
    codebook(alone)
    assert torch.equal(before, torch.get_rng_state())


def test_a_module_can_be_borrowed():
    class Near(Normal):
        name = "near"
        borrows = ("codebook",)

        def __init__(self, config, sizes, codebook):
            super().__init__(config, sizes)
            self.codebook = codebook

    build = Builder("m", 0)
    made = build.module("codebook", lambda: torch.nn.Embedding(7, 3))
    prior = build("prior", Near.Config(), SIZES)
    assert prior.codebook.weight is made.weight
    assert list(prior.parameters()) == []


def test_what_is_no_module_is_refused():
    with pytest.raises(PlanError, match=r"build.module\('codebook', make\), and make\(\) returns a Tensor"):
        Builder("m", 0).module("codebook", lambda: torch.zeros(3))


def built_by(init):
    return type("Made", (Auto,), {"__init__": init, "name": "made"}).Config()


def test_a_module_that_build_did_not_make_is_refused():
    def init(self, config, info, build):
        Auto.__init__(self, config, info, build)
        self.heads = torch.nn.ModuleList([torch.nn.Linear(2, 2)])

    with pytest.raises(PlanError) as error:
        build_model(built_by(init), INFO, 0)
    assert "model 'made' makes 'heads' (heads.0.weight) itself" in str(error.value)
    assert "self.heads = build.module('heads', lambda: ...), which seeds it" in str(error.value)


def test_a_parameter_of_the_model_itself_is_refused():
    def init(self, config, info, build):
        Auto.__init__(self, config, info, build)
        self.scale = torch.nn.Parameter(torch.ones(()))

    with pytest.raises(PlanError, match=r"parameter 'scale' of model 'made' belongs to the model itself"):
        build_model(built_by(init), INFO, 0)


def test_a_list_of_modules_that_build_made_is_fine():
    def init(self, config, info, build):
        Auto.__init__(self, config, info, build)
        made = [build.module(f"head {i}", lambda: torch.nn.Linear(2, 2)) for i in range(2)]
        self.heads = torch.nn.ModuleList(made)

    model = build_model(built_by(init), INFO, 0)
    assert not torch.equal(model.heads[0].weight, model.heads[1].weight)


def test_a_buffer_that_the_model_draws_is_the_same_under_one_seed():
    def init(self, config, info, build):
        Auto.__init__(self, config, info, build)
        self.register_buffer("directions", torch.randn(4, 3))

    first = build_model(built_by(init), INFO, 0).directions
    torch.rand(3)
    assert torch.equal(first, build_model(built_by(init), INFO, 0).directions)
    assert not torch.equal(first, build_model(built_by(init), INFO, 1).directions)


# A model's test gives its parts as tables, and a model may use the share of the run.


class Chosen(Auto):
    """An autoencoder that is told its networks."""

    name = "chosen"

    class Config(PartConfig):
        encoder: genprior.EncoderSpec
        decoder: genprior.DecoderSpec


def test_check_model_takes_the_table_of_a_recipe():
    check_model({"name": "chosen", "encoder": {"name": "mlp"}, "decoder": {"name": "mlp"}}, INFO, parts=[Chosen])


def test_a_part_in_a_table_may_be_its_settings():
    table = {"name": "chosen", "encoder": LinearEncoder.Config(), "decoder": LinearDecoder.Config()}
    assert model_settings(table, [Chosen]) == Chosen.Config(**table)


def test_mistakes_of_a_table_are_listed_with_their_paths():
    with pytest.raises(ContractError) as error:
        check_model({"name": "chosen", "encoder": {"name": "mpl"}, "decoderr": {"name": "mlp"}}, INFO, parts=[Chosen])
    text = str(error.value)
    assert "the table of the model is wrong:" in text
    assert "model.encoder: there is no encoder named 'mpl'" in text
    assert "did you mean 'mlp'" in text
    assert "model.decoder: is missing" in text
    assert "model.decoderr: unknown key 'decoderr'" in text
    with pytest.raises(ContractError, match="there is no model named 'chosen'"):
        check_model({"name": "chosen"}, INFO)


class Annealed(Auto):
    """Its reconstruction counts less towards the end of the run."""

    name = "annealed"

    def by_pixels(self, batch):
        losses = super().by_pixels(batch).losses
        return Objectives({name: (1.5 - batch.share) * loss for name, loss in losses.items()})


def test_losses_that_depend_on_the_share_of_the_run_are_stated():
    with pytest.raises(ContractError) as error:
        check_model(Annealed.Config(), INFO)
    assert "reconstruct/encoder, reconstruct/decoder differ" in str(error.value)
    assert "set uses_share = True in the class body" in str(error.value)
    check_model(type("Stated", (Annealed,), {"name": "stated", "uses_share": True}).Config(), INFO)


def test_the_share_of_a_model_is_not_used_by_default():
    assert Model.uses_share is False


def test_a_model_without_a_conditioner_has_no_condition():
    class Bare(Chosen):
        name = "bare"
        condition = Model.condition

    model = build_model(Bare.Config(encoder=LinearEncoder.Config(), decoder=LinearDecoder.Config()), INFO, 0)
    known, asked = model.condition(torch.zeros(5, dtype=torch.float64))
    assert known.shape == asked.shape == (5, 0)
    assert known.dtype == torch.float64
    with pytest.raises(PlanError, match="model 'bare' takes no label; sample without one"):
        model.condition(torch.zeros(2), torch.tensor([0, 1]))


def test_each_batch_of_training_has_the_step_and_its_share(tiny_plan, tmp_path):
    row = RowTraining(tiny_plan("A+B+C", "run.steps=8"), 0, tmp_path, device="cpu")
    row.prepare()
    seen = []

    def watch(phase: Phase) -> Phase:
        def objectives(batch):
            seen.append((batch.step, batch.share))
            return phase.objectives(batch)

        return phase._replace(objectives=objectives)

    row.phases = tuple(watch(phase) for phase in row.phases)
    for _ in range(3):
        row.one_step()
    assert [(int(step), float(share)) for step, share in seen] == [(s, s / 8) for s in range(3) for _ in row.phases]
    assert {(step.dtype, share.dtype, step.shape) for step, share in seen} == {(torch.int64, torch.float32, ())}


def test_the_labelled_part_of_a_batch_has_them_too(tiny_plan, tmp_path):
    row = RowTraining(tiny_plan("AAE", "run.steps=4", "run.labels=20"), 0, tmp_path, device="cpu")
    row.prepare()
    batch = row._begin(3)
    assert batch.labelled is not None
    assert float(batch.labelled.share) == float(batch.share) == 0.75


def test_a_part_is_told_the_number_of_classes():
    seen = []

    class Listening(LinearEncoder):
        name = "listening"

        def __init__(self, config, sizes):
            seen.append(sizes.classes)
            super().__init__(config, sizes)

    for classes in ((), ("a", "b", "c")):
        config = Chosen.Config(encoder=Listening.Config(), decoder=LinearDecoder.Config())
        Made = type("Told", (Chosen,), {"name": "told", "__init__": told})
        build_model(Made.Config(encoder=config.encoder, decoder=config.decoder), DataInfo((1, 4, 4), classes), 0)
    assert seen == [0, 3]


def told(self, config, info, build):
    Model.__init__(self, config)
    build.parts(self, Sizes(info.image, 3, 0, 0))
