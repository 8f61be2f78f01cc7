"""The engine: which modules are updated, by how much, and what stays unchanged."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from genprior.engine.recorder import Recorder
from genprior.engine.step import remember, run_phase
from genprior.errors import NotFinite, PlanError
from genprior.parts import Batch, Critic, Objectives, PartConfig, Phase, Sizes

from ..small import moved, sgd, snapshot

BATCH = Batch(torch.randn(8, 1, 2, 2, generator=torch.Generator().manual_seed(1)), torch.zeros(8, dtype=torch.int64))


def linear_modules() -> dict[str, nn.Module]:
    torch.manual_seed(3)
    return {name: nn.Linear(4, 4) for name in ("first", "second", "third")}


def test_each_module_descends_its_own_loss_at_the_same_parameters():
    """Against autograd by hand: both gradients are taken before anything moves."""
    modules = linear_modules()
    x = BATCH.x.flatten(1)

    def objectives(batch):
        hidden = modules["first"](batch.x.flatten(1))
        out = modules["second"](hidden)
        return Objectives({"first": out.square().mean(), "second": (out - 1).abs().mean()})

    w1, b1 = (p.detach().clone().requires_grad_() for p in modules["first"].parameters())
    w2, b2 = (p.detach().clone().requires_grad_() for p in modules["second"].parameters())
    out = (x @ w1.T + b1) @ w2.T + b2
    g1 = torch.autograd.grad(out.square().mean(), (w1, b1), retain_graph=True)
    g2 = torch.autograd.grad((out - 1).abs().mean(), (w2, b2))
    run_phase(Phase("both", objectives), BATCH, modules, sgd(modules))
    for name, old, gradients in (("first", (w1, b1), g1), ("second", (w2, b2), g2)):
        for parameter, before, gradient in zip(modules[name].parameters(), old, gradients, strict=True):
            torch.testing.assert_close(parameter.detach(), before.detach() - 0.1 * gradient)


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD])
def test_a_fused_step_gives_each_weight_its_own_gradient_in_any_order_of_memory(kind):
    """A second derivative of a convolution is contiguous, and its weight may be channels last."""
    images = torch.randn(5, 3, 6, 6, generator=torch.Generator().manual_seed(1))

    def stepped(memory_format, fused):
        torch.manual_seed(3)
        layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Conv2d(4, 2, 3)).to(memory_format=memory_format)

        def objectives(batch):
            x = images.contiguous(memory_format=memory_format).requires_grad_()
            (slopes,) = torch.autograd.grad(layers(x).sum(), x, create_graph=True)
            return Objectives({"layers": slopes.square().sum()})

        optimisers = {"layers": kind(layers.parameters(), lr=0.1, fused=fused)}
        for _ in range(3):
            run_phase(Phase("p", objectives), BATCH, {"layers": layers}, optimisers)
        return list(layers.parameters())

    expected = stepped(torch.contiguous_format, fused=False)
    for parameter, right in zip(stepped(torch.channels_last, fused=True), expected, strict=True):
        torch.testing.assert_close(parameter, right, rtol=1e-3, atol=1e-4)


def test_a_shared_loss_equals_two_separate_ones():
    results = []
    for shared in (True, False):
        modules = linear_modules()

        def objectives(batch, modules=modules, shared=shared):
            loss = modules["second"](modules["first"](batch.x.flatten(1))).square().mean()
            return Objectives({"first": loss, "second": loss if shared else loss + 0})

        run_phase(Phase("p", objectives), BATCH, modules, sgd(modules))
        results.append([p for m in modules.values() for p in m.parameters()])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other)


def test_nothing_but_the_named_module_moves_and_no_gradient_is_left():
    modules = linear_modules()
    before = snapshot(modules)
    phase = Phase("p", lambda b: Objectives({"second": modules["second"](modules["first"](b.x.flatten(1))).sum()}))
    run_phase(phase, BATCH, modules, sgd(modules))
    assert moved(modules, before) == {"second"}
    assert all(p.grad is None for m in modules.values() for p in m.parameters())


def test_batch_statistics_of_unnamed_modules_stay():
    modules = {"named": nn.BatchNorm1d(4), "other": nn.BatchNorm1d(4)}
    before = snapshot(modules)

    def objectives(batch):
        return Objectives({"named": modules["named"](modules["other"](batch.x.flatten(1))).square().sum()})

    run_phase(Phase("p", objectives), BATCH, modules, sgd(modules))
    assert moved(modules, before) == {"named"}
    assert modules["named"].num_batches_tracked == 1


def spectral_linear(seed):
    torch.manual_seed(seed)
    layer = spectral_norm(nn.Linear(4, 4))
    with torch.no_grad():
        layer.parametrizations.weight.original.copy_(torch.randn(4, 4))  # which the vectors have yet to find
    return layer


@pytest.mark.parametrize("named", ["first", "second"])
def test_vectors_of_unnamed_spectrally_normalised_modules_stay(named):
    modules = {"first": spectral_linear(1), "second": spectral_linear(2)}
    before = snapshot(modules)
    vectors = {name: {k: v.clone() for k, v in m.named_buffers()} for name, m in modules.items()}
    assert all(len(buffers) == 2 for buffers in vectors.values())
    weights = []

    def objectives(batch):
        loss = modules["second"](modules["first"](batch.x.flatten(1))).square().sum()
        weights.extend(m.eval().weight.detach() for m in modules.values())
        return Objectives({named: loss})

    run_phase(Phase("p", objectives), BATCH, modules, sgd(modules))
    assert moved(modules, before) == {named}
    for name, module in modules.items():
        stayed = [torch.equal(v, vectors[name][k]) for k, v in module.named_buffers()]
        assert stayed == [name != named] * 2
    # During the phase both followed their weights: what the loss saw was normalised anew.
    other = modules[{"first": "second", "second": "first"}[named]]
    assert not torch.equal(other.weight, weights[list(modules.values()).index(other)])


def test_unnamed_modules_in_training_mode_use_the_statistics_of_the_batch():
    modules = {"named": nn.Linear(4, 4), "other": nn.BatchNorm1d(4)}
    seen = []

    def objectives(batch):
        seen.append(modules["other"](5 + 3 * batch.x.flatten(1)))
        return Objectives({"named": modules["named"](seen[0]).sum()})

    run_phase(Phase("p", objectives), BATCH, modules, sgd(modules))
    assert seen[0].mean().abs() < 1e-5


@pytest.mark.parametrize(
    ("losses", "text"),
    [
        (lambda m, x: {"nobody": m["first"](x).sum()}, "moves 'nobody', which is not a module of the model"),
        (lambda m, x: {"first": x.sum()}, "moves 'first', but its loss does not depend on its parameters"),
        (lambda m, x: {"empty": m["first"](x).sum()}, "moves 'empty', but it has no parameters"),
        (lambda m, x: {"second": m["first"](x).sum()}, "moves 'second', but its loss does not depend"),
    ],
)
def test_a_loss_that_does_not_reach_its_module_is_refused(losses, text):
    modules = {**linear_modules(), "empty": nn.Identity()}
    before = snapshot(modules)
    phase = Phase("broken", lambda b: Objectives(losses(modules, b.x.flatten(1))))
    with pytest.raises(PlanError, match="phase 'broken'") as caught:
        run_phase(phase, BATCH, modules, sgd(modules))
    assert text in str(caught.value)
    assert not moved(modules, before)


class CountingCritic(Critic):
    """A critic that counts its passes and may answer in half precision."""

    def __init__(self, dtype=torch.float32):
        super().__init__(PartConfig(), Sizes((1, 2, 2), 4, 0, 0))
        self.passes, self.dtype = 0, dtype

    def forward(self, x, known):
        self.passes += 1
        return x.flatten(1).sum(1).to(self.dtype)


def test_a_remembered_critic_scores_each_tensor_once():
    critic = CountingCritic()
    remembered, known = remember(critic), BATCH.x.new_zeros(8, 0)
    first = remembered(BATCH.x, known)
    assert remembered(BATCH.x, known) is first
    remembered(BATCH.x.clone(), known)
    assert critic.passes == 2


def test_logits_come_in_single_precision_at_least():
    assert remember(CountingCritic(torch.bfloat16))(BATCH.x, BATCH.x.new_zeros(8, 0)).dtype == torch.float32


def _phase_with_gradient(value):
    modules = {"only": nn.Linear(1, 1, bias=False)}

    def objectives(batch):
        weight = modules["only"].weight
        return Objectives({"only": (weight * value).sum()}, note={"twice": torch.tensor(2.0)})

    return Phase("p", objectives), modules


def test_records_are_means_of_losses_gradients_and_notes():
    recorder = Recorder()
    for step, slope in enumerate((1.0, 3.0)):
        phase, modules = _phase_with_gradient(slope)
        with torch.no_grad():
            modules["only"].weight.fill_(2.0)
        recorder.add(phase, run_phase(phase, BATCH, modules, sgd(modules)), step)
    assert recorder.means() == pytest.approx({"p/only/loss": 4.0, "p/only/gradient": 2.0, "p/twice": 2.0})
    assert recorder.means() == {}


@pytest.mark.parametrize("bad", [math.inf, math.nan])
def test_what_is_not_finite_is_named_with_its_first_step(bad):
    recorder = Recorder()
    for step, slope in enumerate((1.0, 1.0, bad, bad)):
        phase, modules = _phase_with_gradient(slope)
        recorder.add(phase, run_phase(phase, BATCH, modules, sgd(modules)), step)
    with pytest.raises(NotFinite, match=r"row 'A\+B', step 2, phase 'p': the loss of 'only' is not finite"):
        recorder.check("A+B")


def test_a_closed_form_update_moves_its_module_after_the_losses_and_nothing_else():
    modules = linear_modules()
    before, seen = snapshot(modules), []

    def objectives(batch):
        def update():
            seen.append((torch.is_grad_enabled(), moved(modules, before)))
            modules["third"].weight.fill_(2.0)

        loss = modules["first"](batch.x.flatten(1)).square().mean()
        return Objectives({"first": loss}, updates={"third": update})

    result = run_phase(Phase("p", objectives), BATCH, modules, sgd(modules))
    assert seen == [(False, {"first"})]
    assert moved(modules, before) == {"first", "third"} == set(objectives(BATCH).moved)
    assert result.keys == ("p/first/loss", "p/first/gradient")


def test_a_phase_may_have_closed_form_updates_alone():
    modules = linear_modules()
    before = snapshot(modules)
    note = {"bound": torch.tensor(3.0)}
    only = Phase("p", lambda batch: Objectives({}, note, {"second": lambda: modules["second"].bias.zero_()}))
    bare = Phase("q", lambda batch: Objectives({}, updates={"second": lambda: modules["second"].bias.zero_()}))
    recorder = Recorder()
    for phase in (only, bare):
        recorder.add(phase, run_phase(phase, BATCH, modules, sgd(modules)), 0)
    assert moved(modules, before) == {"second"}
    recorder.check("row")
    assert recorder.means() == {"p/bound": 3.0}


def test_a_closed_form_update_keeps_the_batch_statistics_of_its_module_only():
    modules = {"first": nn.BatchNorm2d(1), "second": nn.BatchNorm2d(1)}

    def objectives(batch):
        for module in modules.values():
            module(batch.x)
        return Objectives({}, updates={"second": lambda: None})

    before = snapshot(modules)
    run_phase(Phase("p", objectives), BATCH, modules, sgd(modules))
    assert moved(modules, before) == {"second"}


@pytest.mark.parametrize(
    ("name", "average", "text"),
    [
        ("fourth", None, "'p' updates 'fourth', which is not a module of the model. Its modules: first, second, third"),
        ("first", lambda gradients: None, "several processes share a batch, and each would set it differently"),
    ],
)
def test_a_closed_form_update_that_cannot_be_is_refused(name, average, text):
    with pytest.raises(PlanError, match=text):
        run_phase(
            Phase("p", lambda batch: Objectives({}, updates={name: lambda: None})), BATCH, linear_modules(), {}, average
        )
