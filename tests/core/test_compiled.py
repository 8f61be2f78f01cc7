"""Compiled networks: what is compiled, that numbers are those without, and that nothing else notices.

Most tests use a compiler that keeps torch's own kernels, with which numbers are equal bit for bit; the slow one uses
that of `run.compile`.
"""

from __future__ import annotations

import contextlib
import json
import warnings
from pathlib import Path

import pytest
import torch

import genprior
from genprior.engine import compiled as compiled_module
from genprior.engine.compiled import Compiled
from genprior.engine.step import gradients_of
from genprior.errors import GenpriorWarning
from genprior.parts import Objectives, Phase
from genprior.runs.trainer import Trainer
from genprior.storage import checkpoint

pytestmark = [pytest.mark.usefixtures("no_curves")]

RECIPES = Path(__file__).parents[2] / "recipes"
QUIET = ("run.batch=8", "run.hooks.pictures.enabled=false", "run.log_every=5", "scores=[]")
SMALL = ("model.encoder.width=4", "model.decoder.width=4")
MLP = ("aae_mnist_codes", "AAE 8-D Gaussian", 'data={name="digits",size=8}')
"""A row of small networks without convolutions."""


class Eager(Trainer):
    """A trainer whose compiler traces the networks and keeps torch's own kernels."""

    compiler = "eager"


class Broken(Trainer):
    """A trainer whose compiler raises an error."""

    @staticmethod
    def compiler(graph, inputs):
        raise OSError("no C++ compiler\nwas found")


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    import torch._dynamo

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "compiled"))
    torch._dynamo.reset()


def plan_of(recipe, row, *settings, compiling=True):
    settings = [*QUIET, *settings, f"run.compile={str(compiling).lower()}"]
    return genprior.load_recipe(RECIPES / f"{recipe}.toml", changes=["quick"], rows=[row], settings=settings).plans[0]


def trained(plan, folder, steps, kind=Eager):
    trainer = kind(plan, 0, folder, device="cpu")
    trainer.prepare()
    trainer._training_mode()
    for _ in range(steps):
        trainer.one_step()
    trainer.check()
    return trainer


def largest_difference(one, other, under=""):
    here, there = one._state.tensors(), other._state.tensors()
    assert here.keys() == there.keys()
    return max(float((here[n].double() - there[n].double()).abs().max()) for n in here if n.startswith(under))


def test_numbers_are_those_without_and_evaluation_is_not_compiled(tmp_path):
    """Row A+B+C: a learned prior, an error in features of a borrowed critic, averaged weights, two phases."""
    from torch._dynamo.utils import counters

    row = ("table3_ablation", "A+B+C", *SMALL, "run.ema=0.9")
    plain = trained(plan_of(*row, compiling=False), tmp_path / "a", 4)
    other = trained(plan_of(*row), tmp_path / "b", 2)
    networks = other.compiled.facts()["networks"]
    assert networks == ["code_critic", "decoder", "encoder", "image_critic", "prior.network", "reconstruction"]
    assert other.compiled.facts()["eager"] == {}
    before = counters["stats"]["unique_graphs"]
    other.sample(3)
    with other.trained() as model:
        assert all(module._compiled_call_impl is None for module in model.modules())
    other._training_mode()
    for _ in range(2):
        other.one_step()
    assert counters["stats"]["unique_graphs"] == before > 0  # what was compiled in the rehearsal is all
    assert largest_difference(plain, other) == 0


def test_a_rehearsal_changes_nothing(tmp_path):
    trainer = Eager(plan_of(*MLP), 0, tmp_path, device="cpu")
    trainer.prepare()
    trainer._training_mode()
    before = {name: tensor.clone() for name, tensor in trainer._state.tensors().items()}
    trainer.compile_networks()
    after = trainer._state.tensors()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(p.grad is None for p in trainer.model.parameters())


def test_a_run_resumes_and_its_checkpoints_are_those_of_others(tmp_path):
    plan = plan_of(*MLP, "run.steps=6", "run.checkpoint_every=6")
    whole, resumed = Eager(plan, 0, tmp_path / "whole", device="cpu"), Eager(plan, 0, tmp_path / "parts", device="cpu")
    whole.run()
    Eager(plan, 0, tmp_path / "parts", device="cpu").run(3)
    resumed.run()
    assert largest_difference(whole, resumed) == 0
    saved = checkpoint.read(whole._files.newest_checkpoint, torch.device("cpu"))
    assert {name.removeprefix("model/") for name in saved.tensors if name.startswith("model/")} == {
        name for name, _ in (*whole.model.named_parameters(), *whole.model.named_buffers())
    } & set(whole.model.state_dict())
    assert not any("_orig_mod" in name for name in saved.tensors)
    facts = json.loads((tmp_path / "parts" / "run.json").read_text())["compiled"]
    assert facts["seconds"] > 0 and facts["networks"] == ["code_critic", "decoder", "encoder"]


def test_operations_can_still_be_counted(tmp_path):
    from torch.utils.flop_counter import FlopCounterMode

    counted = []
    for use in (False, True):
        trainer = trained(plan_of(*MLP, compiling=use), tmp_path / str(use), 1)
        with FlopCounterMode(display=False) as counter:
            trainer.one_step()
        counted.append(counter.get_total_flops())
    assert counted[0] == counted[1] > 0


def test_networks_with_a_gradient_penalty_are_left_out(tmp_path):
    text = r"not compiled: image_critic \(in phases that differentiate its gradient again, .* cannot\)$"
    row = ("gans/wgan_gp", "WGAN-GP", "run.batch=10", "model.decoder.width=4", "model.image_critic.width=4")
    with pytest.warns(GenpriorWarning, match=text):
        other = trained(plan_of(*row), tmp_path / "b", 2)
    assert other.compiled.facts()["networks"] == ["decoder", "image_critic"]  # this one in the decoder's phase
    used = {name: sorted(network.path for network in networks) for name, networks in other.compiled._used.items()}
    assert used.pop("generate") == ["decoder", "image_critic"] and set(map(tuple, used.values())) == {("decoder",)}
    plain = trained(plan_of(*row, compiling=False), tmp_path / "a", 2)
    assert largest_difference(plain, other) == 0


def test_a_missing_compiler_leaves_all_networks_as_they_are(tmp_path):
    plan = plan_of(*MLP)
    text = r"^row 'AAE 8-D Gaussian': not compiled: code_critic, decoder, encoder \(OSError: no C\+\+ compiler\)$"
    with pytest.warns(GenpriorWarning, match=text) as told:
        other = trained(plan, tmp_path / "b", 2, Broken)
    assert len(told) == 1
    assert largest_difference(trained(plan_of(*MLP, compiling=False), tmp_path / "a", 2), other) == 0


def test_a_phase_with_other_losses_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(compiled_module, "BOUND", -1.0)
    with pytest.warns(GenpriorWarning, match=r"\(phase 'regularise' has other losses\)$"):
        other = trained(plan_of(*MLP), tmp_path, 1)
    assert other.compiled.facts()["networks"] == []


def test_shapes_that_change_at_each_step_end_compilation(tmp_path):
    trainer = Eager(plan_of(*MLP), 0, tmp_path, device="cpu")
    trainer.prepare()
    trainer._training_mode()
    trainer.one_step()
    (phase,) = trainer.phases
    text = r"row 'AAE 8-D Gaussian': no longer compiled: code_critic \(FailOnRecompileLimitHit"
    with pytest.warns(GenpriorWarning, match=text) as told, trainer.compiled.phase(phase.name), torch.no_grad():
        for n in range(2, 16):
            trainer.model.code_critic(torch.zeros(n, 8), torch.zeros(n, 0))
    assert len(told) == 1
    failed = trainer.compiled.facts()["eager"]
    assert list(failed.values()) == [["code_critic"]] and "FailOnRecompileLimitHit" in next(iter(failed))


def test_several_processes_are_not_compiled(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    assert compiled_module.no_compilation() == "several processes share a batch"


def test_a_hidden_folder_of_the_cache_takes_the_code(tmp_path, monkeypatch):
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    monkeypatch.setenv("GENPRIOR_DATA", str(tmp_path / "data"))
    compiled_module._keep_code()
    assert Path(compiled_module.os.environ["TORCHINDUCTOR_CACHE_DIR"]) == tmp_path / "data" / "compiled"
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")


def test_calls_inside_of_other_calls_are_not_networks_of_their_own():
    layers = torch.nn.Sequential(torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU()), torch.nn.Linear(2, 1))
    model = torch.nn.ModuleDict({"net": layers, "alone": torch.nn.Linear(2, 1)})
    one = Compiled(model, dict(model.items()), "row 'x'", "aot_eager")

    def objectives(batch):
        loss = (model["net"](batch[0]) + model["alone"](batch[0])).mean()
        return Objectives({"net": loss, "alone": loss})

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one.rehearse([Phase("p", objectives)], (torch.ones(3, 2),), torch.autocast("cpu", enabled=False))
    assert one.facts()["networks"] == ["net"]


@pytest.mark.slow
def test_fused_kernels_agree_up_to_rounding(tmp_path):
    """With run.compile's own compiler, on the same weights and batch: losses to 1e-5, gradients to 1e-3, relative."""
    trainer = Trainer(plan_of("table3_ablation", "AAE", *SMALL, 'run.precision="fp32"'), 0, tmp_path, device="cpu")
    trainer.prepare()
    trainer._training_mode()
    trainer.compile_networks()
    assert trainer.compiled.facts()["networks"] == ["code_critic", "decoder", "encoder"]
    (phase,) = trainer.phases
    before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    found = []
    for use in (contextlib.nullcontext(), trainer.compiled.phase(phase.name)):
        with use:
            objectives = phase.objectives(trainer._begin(0))
            found.append((objectives, gradients_of(phase, objectives, trainer.modules)))
        trainer.model.load_state_dict(before)
    (losses, plain), (compiled_losses, compiled) = found
    for name, loss in losses.items():
        torch.testing.assert_close(compiled_losses[name], loss, rtol=1e-5, atol=0)
        for (_, gradient), (_, other) in zip(plain[name], compiled[name], strict=True):
            assert float((gradient - other).norm()) <= 1e-3 * float(gradient.norm())
