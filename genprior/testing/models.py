"""The contract of a model: who moves in each phase, and what comes out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from genprior.engine.build import build_model
from genprior.engine.step import run_phase
from genprior.parts import Batch, DataInfo, Model, Objectives, PartConfig, Phase
from genprior.randomness import seeded
from genprior.testing.making import check_config, config_of
from genprior.testing.model_images import check_images
from genprior.testing.report import Contract, describe

__all__ = ["check_model"]

ROUNDS = 2
RATE = 1e-2


def check_model(
    config: PartConfig,
    info: DataInfo | None = None,
    *,
    batch: int = 8,
    frozen: Collection[str] = (),
) -> None:
    """Check that a model keeps its contract; see `genprior.Model`.

    Each parameter is owned by one module of the model and, unless the module is `frozen`, learns in some phase. Each
    phase, run twice with SGD, changes exactly the modules that it names: no parameter and no buffer of another one. All
    losses are finite scalars. `generate` gives images [n, c, h, w] in [-1, 1], the same ones under the same seed, and
    so does `reconstruct`; of a model that makes no images it raises a PlanError. Two models of one seed start equal; a
    state_dict restores a model in the midst of training, so that it goes on as the original does.

    Args:
        config: the model's settings, with parts small enough to be run a few dozen times.
        info: the data's form; grey 16x16 images of three classes if not given.
        batch: images a step.
        frozen: names of modules that no phase is meant to move.

    Raises:
        ContractError: lists every promise that is broken.
    """
    config_of(config, Model)
    data = info or DataInfo((1, 16, 16), ("circle", "square", "star"))
    contract = Contract(config.part, f"{data!r} and {config!r}")
    check_config(contract, config)
    model = contract.call(
        f"build_model(config, {data!r}, seed=0)", lambda: build_model(config, data, 0), "it can be built"
    )
    if model is None:
        return contract.finish()
    contract.require(
        isinstance(model, Model), "build_model", describe(model), "a genprior.Model", "derive from genprior.Model"
    )
    _check_owners(contract, model)
    _check_start(contract, config, data, model)
    phases = contract.call("phases()", model.phases, "phases() gives the phases of a step")
    if phases is not None and _check_phases(contract, phases):
        _check_training(contract, model, _batch(data, batch), frozen)
        _check_restored(contract, config, data, _batch(data, batch))
    check_images(contract, model, data, _batch(data, batch))
    contract.finish()


def _batch(data: DataInfo, n: int) -> Batch:
    with seeded("testing", "batch"):
        x = 2 * torch.rand(n, *data.image) - 1
    return Batch(x, torch.arange(n) % max(len(data.classes), 1))


def _check_owners(contract: Contract, model: Model) -> None:
    modules = dict(model.named_children())
    owners = Counter(id(p) for module in modules.values() for p in module.parameters())
    for name, parameter in model.named_parameters():
        contract.require(
            id(parameter) in owners,
            f"parameter '{name}'",
            "it belongs to the model itself",
            "each parameter belongs to one of the model's modules, because each module has an optimiser of its own",
            "put it in a module: self.something = build('something', config.something, sizes)",
        )
    shared = sorted(
        name
        for module_name, module in modules.items()
        for name in (f"{module_name}.{each}" for each, p in module.named_parameters() if owners[id(p)] > 1)
    )
    contract.require(
        not shared,
        "the modules of the model",
        f"several modules own {', '.join(shared[:4])}{' ...' if len(shared) > 4 else ''}",
        "each parameter is owned once",
        "declare what a part uses of another one in `borrows`, and keep the Borrowed object that it is given",
    )
    contract.require(
        any(name in modules for name in model.generating),
        f"generating = {model.generating!r}",
        f"the model's modules are {', '.join(modules) or 'none'}",
        "`generating` names the modules that make images",
        'set generating = ("decoder", ...) in the class body',
    )


def _check_start(contract: Contract, config: PartConfig, data: DataInfo, model: Model) -> None:
    torch.rand(3)  # a draw between the two must make no difference
    first, second = model.state_dict(), build_model(config, data, 0).state_dict()
    other = [key for key in first if key not in second or not torch.equal(first[key], second[key])]
    contract.require(
        not other,
        "build_model(config, info, seed=0), twice",
        f"{', '.join(other[:4])} differ",
        "two models of one seed start equal",
        "make every part with build(role, config, sizes), which seeds it; make no module of your own",
    )


def _check_phases(contract: Contract, phases: Any) -> bool:
    if not contract.require(
        isinstance(phases, tuple) and bool(phases) and all(isinstance(phase, Phase) for phase in phases),
        "phases()",
        describe(phases),
        "a tuple of genprior.Phase, at least one",
        'return (Phase("my_phase", self.my_phase),)',
    ):
        return False
    names = [phase.name for phase in phases]
    return contract.require(
        len(set(names)) == len(names) and all(name and "/" not in name for name in names),
        "phases()",
        f"the names {names}",
        "each phase has a name of its own, without '/', under which its losses are recorded",
        "rename them",
    ) and contract.require(
        all(isinstance(phase.every, int) and phase.every >= 1 for phase in phases),
        "phases()",
        f"every = {[phase.every for phase in phases]}",
        "a phase runs in each `every`-th step, from 1 up",
        "leave `every` out, or give a whole number from 1 up",
    )


class _Recording:
    """A phase that remembers what it returned."""

    def __init__(self, phase: Phase) -> None:
        self.last: Any = None
        self.phase = phase._replace(objectives=self)
        self._objectives = phase.objectives

    def __call__(self, batch: Batch) -> Objectives:
        self.last = self._objectives(batch)
        return self.last  # type: ignore[no-any-return]


class _Sgd(torch.optim.SGD):
    """SGD that remembers which parameters got a gradient."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__(module.parameters(), lr=RATE)
        self.reached: set[int] = set()

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        self.reached |= {id(p) for group in self.param_groups for p in group["params"] if p.grad is not None}
        super().step()


def _optimisers(model: Model) -> tuple[dict[str, nn.Module], dict[str, _Sgd]]:
    modules = dict(model.named_children())
    return modules, {name: _Sgd(module) for name, module in modules.items() if any(True for _ in module.parameters())}


def _snapshot(modules: Mapping[str, nn.Module]) -> dict[str, dict[str, Tensor]]:
    """Every parameter and buffer of each module, those that are not saved included."""
    return {
        name: {key: value.detach().clone() for key, value in [*module.named_parameters(), *module.named_buffers()]}
        for name, module in modules.items()
    }


def _check_training(contract: Contract, model: Model, batch: Batch, frozen: Collection[str]) -> None:
    """Each phase moves the modules that it names, and no other."""
    model.train()
    modules, optimisers = _optimisers(model)
    images = batch.x.clone()
    for round_ in range(ROUNDS):
        for phase in model.phases():
            recording = _Recording(phase)
            called = f"run_phase('{phase.name}', {len(images)} images), time {round_ + 1}"
            before = _snapshot(modules)
            with seeded("testing", "train", round_):
                result = contract.call(
                    called,
                    lambda r=recording: run_phase(r.phase, batch, modules, optimisers),  # type: ignore[misc]
                    "the engine can run the phase: every loss reaches the module that descends it",
                )
            if not isinstance(recording.last, Objectives):
                contract.require(
                    recording.last is None,
                    called,
                    describe(recording.last),
                    "a phase returns genprior.Objectives({module name: loss})",
                    "return Objectives({...})",
                )
                return
            _check_losses(contract, called, recording.last)
            if result is None:
                return
            _check_moved(contract, called, before, _snapshot(modules), set(recording.last.moved))
    contract.require(
        torch.equal(images, batch.x),
        "training",
        "the batch of images was changed",
        "what comes in is left as it is",
        "work on a copy: no operation that ends in _ on batch.x",
    )
    reached = {parameter for optimiser in optimisers.values() for parameter in optimiser.reached}
    orphans = [
        f"{name}.{key}"
        for name, module in modules.items()
        if name not in frozen
        for key, p in module.named_parameters()
        if p.requires_grad and id(p) not in reached
    ]
    contract.require(
        not orphans,
        f"all phases, {ROUNDS} times",
        f"no gradient ever reached {', '.join(orphans[:6])}{' ...' if len(orphans) > 6 else ''}",
        "each parameter learns in some phase",
        "name its module in a phase whose loss uses it, make no module that is not used, or pass frozen=('name',)",
    )


def _check_losses(contract: Contract, called: str, objectives: Objectives) -> None:
    for what, values in (("loss of", objectives.losses), ("note", objectives.note)):
        for name, value in values.items():
            contract.require(
                isinstance(value, Tensor) and value.shape == () and bool(torch.isfinite(value.detach())),
                f"{called}: the {what} '{name}'",
                f"{describe(value)} {value.detach().tolist() if isinstance(value, Tensor) else ''}".strip()[:200],
                "a finite scalar tensor",
                "reduce it with .mean(), in sight, at the end",
            )


def _check_moved(
    contract: Contract,
    called: str,
    before: Mapping[str, Mapping[str, Tensor]],
    after: Mapping[str, Mapping[str, Tensor]],
    named: set[str],
) -> None:
    for name, tensors in before.items():
        moved = [key for key, value in tensors.items() if not _same(value, after[name][key])]
        if name in named:
            contract.require(
                bool(moved),
                called,
                f"'{name}' did not move, though the phase names it",
                "a module that a phase names takes a step down its loss",
                f"let the loss of '{name}' depend on its parameters, or leave '{name}' out of the phase",
            )
        else:
            contract.require(
                not moved,
                called,
                f"'{name}' changed ({', '.join(moved[:3])}), though the phase names {', '.join(sorted(named))}",
                "a phase changes the modules that it names, and nothing else: no parameter, no buffer",
                f"write nothing to '{name}' in the phase; name it in Objectives if it is meant to move",
            )


def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and bool(torch.equal(a.nan_to_num(), b.nan_to_num()))


def _check_restored(contract: Contract, config: PartConfig, data: DataInfo, batch: Batch) -> None:
    """A model that is loaded in the midst of training goes on as the original does."""
    if contract.failures:
        return
    first = build_model(config, data, 0).train()
    _step(first, batch, 0)
    second = build_model(config, data, 1).train()
    if contract.call("load_state_dict(state_dict())", lambda: second.load_state_dict(first.state_dict())) is None:
        return
    for model in (first, second):
        _step(model, batch, 1)
    theirs = second.state_dict()
    other = [key for key, value in first.state_dict().items() if not _same(value, theirs[key])]
    contract.require(
        not other,
        "a step of training, and the same step of a model that its state_dict was loaded into",
        f"{', '.join(other[:4])} differ afterwards",
        "a checkpoint holds all that training depends on, so that a run that was stopped goes on as if it had not been",
        "register_buffer(...) what the model or a part remembers between steps, and draw with torch alone",
    )


def _step(model: Model, batch: Batch, step: int) -> None:
    modules, optimisers = _optimisers(model)
    with seeded("testing", "step", step):
        for phase in model.phases():
            run_phase(phase, batch, modules, optimisers)
