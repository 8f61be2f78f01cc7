"""Steps as one CUDA graph: equal to steps without, bit for bit, and left alone where a graph would not repeat them.

Without a GPU the graph is a recording of all operations of a step, which is replayed as a graph is. The tests with the
marker `gpu` do the same with CUDA.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch

import genprior
from genprior.engine import graphs as graphs_module
from genprior.engine.divergence import Guard
from genprior.engine.graphs import EAGER_STEPS, CudaCapture, Graphs, needs_host
from genprior.errors import GenpriorWarning, NotFinite
from genprior.parts import Objectives, Phase
from genprior.registry import installed
from genprior.runs.trainer import Trainer

from .recorded_operations import RecordedOperations

pytestmark = [pytest.mark.usefixtures("no_curves"), pytest.mark.filterwarnings("ignore:all .* codes of training")]

RECIPES = Path(__file__).parents[2] / "recipes"
QUIET = ("run.batch=8", "run.hooks.pictures.enabled=false", "run.log_every=5", "scores=[]")
DIGITS = 'data={name="digits",size=8}'
DIGITS16 = 'data={name="digits",size=16}'
MODELS = {
    "aae": ("table3_ablation", "A+B+C", ("model.encoder.width=4", "model.decoder.width=4")),
    "aae_clustering": ("aae_clustering", "K = 16 + consistency + information", (DIGITS,)),
    "aae_dimension_reduction": ("aae_dim_reduction", "2-D with 20 clusters", (DIGITS,)),
    "aae_semi_supervised": ("aae_semi_supervised", "100 labels + consistency + information", (DIGITS,)),
    "autoencoder": ("priors", "AE", (DIGITS,)),
    "gan": ("gans/dcgan", "DCGAN", ()),
    "hvae": ("vampprior_mnist", "HVAE + VampPrior", (DIGITS,)),
    "iwae": ("iwae_mnist", "k = 1", (DIGITS,)),
    "labels_alone": ("aae_dim_reduction", "2-D with 1000 labels alone", (DIGITS,)),
    "ncrp_vae": ("ncrp_digits", "VAE + nested CRP", (DIGITS,)),
    "pixelcnn": ("pixelgan_clustering", "PixelCNN", (DIGITS,)),
    "pixelgan": ("pixelgan_gaussian", "PixelGAN", (DIGITS,)),
    "pixelgan_semi_supervised": (
        "pixelgan_semi_supervised",
        "PixelGAN with 20 labels + consistency + information",
        (DIGITS,),
    ),
    "rae": ("priors", "RAE", (DIGITS,)),
    "vae": ("priors", "VampPrior", (DIGITS,)),
    "vae_gan": ("vae_gan", "VAE-GAN", (DIGITS16,)),
    "wae": ("priors", "WAE", (DIGITS,)),
}
"""For each model: the recipe, the row and settings."""


def plan_of(recipe, row, settings=()):
    return genprior.load_recipe(
        RECIPES / f"{recipe}.toml", changes=["quick"], rows=[row], settings=[*QUIET, *settings]
    ).plans[0]


class Deferred(Trainer):
    """A trainer on the CPU whose verdicts stay in tensors, as on a GPU, and whose steps a recording may capture."""

    capture = None

    def prepare(self):
        super().prepare()
        if self._device.type == "cpu":
            guard = Guard(self._device, skip=self.guard.skip, kept=self.guard.kept, deferred=True)
            self.guard = self._state._guard = guard
        if self.capture is not None:
            self.graphs = Graphs(self.capture, self.modules, self._optimising, self.recorder, self.named)


def trained(plan, folder, steps, capture=None, device="cpu"):
    trainer = Deferred(plan, 0, folder, device=device)
    trainer.capture = capture
    trainer.prepare()
    trainer._training_mode()
    for _ in range(steps):
        trainer.one_step()
    trainer.check()
    return trainer


def _equal(here, there):
    """Whether all numbers are equal, a number that is not finite too."""
    try:
        torch.testing.assert_close(here, there, rtol=0, atol=0, equal_nan=True)
    except AssertionError:
        return False
    return True


def differences(one, other):
    """The names of tensors of two trainings that are not equal, and whether other facts are not."""
    here, there = one._state.tensors(), other._state.tensors()
    assert here.keys() == there.keys()
    unequal = [name for name in here if not _equal(here[name], there[name])]
    return unequal + (["facts"] if one._state.facts() != other._state.facts() else [])


@pytest.mark.parametrize("model", MODELS)
def test_replayed_steps_of_every_model_equal_steps_without(model, tmp_path):
    plan = plan_of(*MODELS[model])
    assert plan.model.part.name == model
    capture = RecordedOperations()
    steps = 20 if model in ("aae", "vae", "ncrp_vae") else 8
    plain, replayed = trained(plan, tmp_path / "a", steps), trained(plan, tmp_path / "b", steps, capture)
    assert differences(plain, replayed) == []
    # Kinds of steps that are rarer, of phases that are not due at each step, may not have been captured yet.
    assert replayed.graphs.captured == capture.captured
    assert capture.captured >= 1 and 0 < capture.replayed <= steps - EAGER_STEPS * capture.captured


def test_every_standard_model_is_tried():
    parts = (part for part in installed().all() if part.kind == "model" and part.__module__.startswith("genprior_std."))
    assert {part.name for part in parts} == set(MODELS)


def test_learning_rates_and_averages_change_under_replay_as_without(tmp_path):
    settings = (
        "run.ema=0.9",
        "run.clip_norm=0.5",
        'optimiser.default.schedule={name="cosine",warmup=5}',
    )
    plan = plan_of("table3_ablation", "AAE", settings)
    plain, replayed = trained(plan, tmp_path / "a", 12), trained(plan, tmp_path / "b", 12, RecordedOperations())
    assert differences(plain, replayed) == []
    rate = plain.optimisers["encoder"].param_groups[0]["lr"]
    assert float(replayed.optimisers["encoder"].param_groups[0]["lr"]) == rate


def test_the_phases_that_are_due_have_graphs_of_their_own(tmp_path):
    plan = plan_of("table3_ablation", "A+B+C")
    trainers = []
    capture = RecordedOperations()
    for folder, used in (("a", None), ("b", capture)):
        trainer = Deferred(plan, 0, tmp_path / folder, device="cpu")
        trainer.capture = used
        trainer.prepare()
        first, *others = trainer.phases
        trainer.phases = (first, *(each._replace(every=2) for each in others))
        trainer._training_mode()
        for _ in range(12):
            trainer.one_step()
        trainers.append(trainer)
    assert differences(*trainers) == []
    assert capture.captured == 2 and capture.replayed == 12 - 2 * EAGER_STEPS


def test_means_are_of_the_steps_since_the_last_record(tmp_path):
    plan = plan_of("table3_ablation", "AAE")
    lines = []
    for folder, capture in (("a", None), ("b", RecordedOperations())):
        trainer = trained(plan, tmp_path / folder, 7, capture)
        first = trainer.recorder.means()
        assert not trainer.recorder.pending
        for _ in range(4):
            trainer.one_step()
        assert trainer.recorder.pending
        lines.append((first, trainer.recorder.means(reset=False), trainer.recorder.means()))
    assert lines[0] == lines[1]
    assert lines[0][1] == lines[0][2] != lines[0][0]


def test_a_run_that_is_interrupted_and_resumed_equals_one_that_is_not(tmp_path):
    plan = plan_of("table3_ablation", "A+B+C", ("run.steps=14", "run.checkpoint_every=14", "run.ema=0.9"))

    def run(folder, until=None):
        trainer = Deferred(plan, 0, tmp_path / folder, device="cpu")
        trainer.capture = RecordedOperations()
        trainer.run(until)
        return trainer

    whole, _, resumed = run("whole"), run("parts", until=6), run("parts")
    assert differences(whole, resumed) == []
    metrics = [(tmp_path / folder / "metrics.jsonl").read_text().splitlines() for folder in ("whole", "parts")]
    assert len(metrics[0]) == len(metrics[1]) > 0


def test_a_loss_that_is_not_finite_is_left_out_of_a_replay(tmp_path):
    """From a step on, which only a tensor tells, the loss is NaN: the replayed step stops the training in time."""
    plan = plan_of("table3_ablation", "AAE")
    found = []
    for folder, capture in (("a", None), ("b", RecordedOperations())):
        trainer = Deferred(plan, 0, tmp_path / folder, device="cpu")
        trainer.capture = capture
        trainer.prepare()
        *others, last = trainer.phases

        def spoiled(batch, last=last):
            whole = last.objectives(batch)
            nan = torch.where(batch.step >= 8, torch.nan, 0.0)
            return Objectives({name: loss + nan for name, loss in whole.losses.items()}, whole.note, whole.updates)

        trainer.phases = (*others, Phase(last.name, spoiled, last.every))
        trainer._training_mode()
        for _ in range(11):
            trainer.one_step()
        assert trainer.guard.stopped
        with pytest.raises(NotFinite, match="step 8, phase"):
            trainer.check()
        found.append(trainer)
    weights = [{name: t for name, t in each._state.tensors().items() if name.startswith("model/")} for each in found]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


# ---------------------------------------------------------------------------------------------------------------------
# What is not captured
# ---------------------------------------------------------------------------------------------------------------------


def with_last_phase(plan, folder, change, capture):
    """Train with a last phase whose objectives are changed."""
    trainer = Deferred(plan, 0, folder, device="cpu")
    trainer.capture = capture
    trainer.prepare()
    *others, last = trainer.phases
    trainer.phases = (*others, Phase(last.name, lambda batch: change(trainer, last.objectives(batch)), last.every))
    trainer._training_mode()
    for _ in range(EAGER_STEPS + 2):
        trainer.one_step()
    return trainer


def asking(trainer, objectives):
    assert all(loss.item() < 1e9 for loss in objectives.losses.values())
    return objectives


def replacing(trainer, objectives):
    layer = next(m for m in trainer.model.decoder.modules() if isinstance(m, torch.nn.BatchNorm2d))
    layer.running_mean = layer.running_mean.clone()
    return objectives


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (asking, r"a step waits for the device \(aten._local_scalar_dense"),
        (replacing, r"a step replaces decoder.*running_mean in place of changing it"),
    ],
)
def test_a_step_that_a_graph_would_not_repeat_runs_without(change, why, tmp_path):
    plan = plan_of("table3_ablation", "AAE")
    capture = RecordedOperations()
    with pytest.warns(
        GenpriorWarning, match=f"row 'AAE': steps are not captured as a CUDA graph, because {why}"
    ) as told:
        other = with_last_phase(plan, tmp_path / "b", change, capture)
    assert len(told) == 1 and capture.captured == 0
    assert differences(with_last_phase(plan, tmp_path / "a", change, None), other) == []


def test_a_prior_that_waits_for_the_device_runs_without(tmp_path):
    pytest.importorskip("zuko", reason='the flow needs pip install "genprior[flow]"')
    with pytest.warns(GenpriorWarning, match="a step waits for the device .*nonzero"):
        trained(plan_of("priors", "flow", (DIGITS,)), tmp_path, EAGER_STEPS, RecordedOperations())


def test_a_capture_that_fails_leaves_the_step_to_be_run(tmp_path):
    class Failing(RecordedOperations):
        def __call__(self, step):
            super().__call__(step)
            raise RuntimeError("CUDA error: operation not permitted\nwhen stream is capturing")

    plan = plan_of("table3_ablation", "AAE")
    with pytest.warns(GenpriorWarning, match="because it cannot be captured: CUDA error: operation not permitted$"):
        failed = trained(plan, tmp_path / "b", 6, Failing())
    assert differences(trained(plan, tmp_path / "a", 6), failed) == []


def test_too_many_kinds_of_steps_run_without(tmp_path, monkeypatch):
    monkeypatch.setattr(graphs_module, "KINDS", 1)
    trainer = trained(plan_of("table3_ablation", "A+B+C"), tmp_path, 1, RecordedOperations())
    trainer.phases = trainer.phases[:1]
    with pytest.warns(GenpriorWarning, match="more than 1 kinds of steps, by shapes of batches and phases due"):
        trainer.one_step()


def test_an_optimiser_that_is_not_fused_is_named():
    optimiser = torch.optim.RMSprop([torch.nn.Parameter(torch.zeros(2))])
    text = needs_host({"encoder": optimiser})
    assert text == "the optimiser of 'encoder', RMSprop, does not run fused"
    assert needs_host({"encoder": torch.optim.Adam([torch.nn.Parameter(torch.zeros(2))], fused=True)}) is None


@pytest.mark.parametrize(("setting", "warned"), [("auto", False), ("off", False), ("on", True)])
def test_a_cpu_has_no_graphs(setting, warned, tmp_path):
    plan = plan_of("table3_ablation", "AAE", (f'run.graph="{setting}"',))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer = Trainer(plan, 0, tmp_path, device="cpu")
        trainer.prepare()
    assert trainer.graphs is None
    assert [str(each.message) for each in caught] == warned * [
        "row 'AAE': steps are not captured as a CUDA graph, because the device is 'cpu', and only CUDA has graphs"
    ]


# ---------------------------------------------------------------------------------------------------------------------
# On a GPU
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("model", MODELS)
def test_a_cuda_graph_equals_steps_without(model, tmp_path, monkeypatch):
    """Bit for bit with deterministic kernels; learning rates that change are rounded to float32, a relative 6e-8."""
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    recipe, row, settings = MODELS[model]
    plan = plan_of(recipe, row, (*settings, 'optimiser.default.schedule={name="constant"}'))
    off = plan.model_copy(update={"run": plan.run.model_copy(update={"graph": "off"})})
    plain = trained(off, tmp_path / "a", 100, device="cuda")
    replayed = trained(plan, tmp_path / "b", 100, device="cuda")
    assert replayed.graphs is not None and replayed.graphs.captured
    assert differences(plain, replayed) == []


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_draws_of_a_replay_are_those_of_its_seed():
    drawn = torch.zeros(1000, device="cuda")
    capture = CudaCapture()

    def step():
        drawn.copy_(torch.randn(1000, device="cuda"))

    assert capture.watched(step) is None
    replay = capture(step)
    for seed in (1, 2, 1):
        torch.manual_seed(seed)
        replay()
        torch.manual_seed(seed)
        assert torch.equal(drawn, torch.randn(1000, device="cuda"))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_waiting_for_the_device_is_seen_on_a_gpu():
    assert "waits for the device" in (CudaCapture().watched(lambda: torch.ones(2, device="cuda").sum().item()) or "")
