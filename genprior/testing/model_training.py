"""The contract of a model in training: which modules a phase changes, and whether a state_dict resumes it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from genprior.engine.build import build_model
from genprior.engine.step import run_phase
from genprior.parts import Batch, Codes, DataInfo, FittedPrior, Model, Objectives, PartConfig, Phase
from genprior.randomness import seeded
from genprior.testing.report import Contract, describe
from genprior.testing.tensors import check_unchanged

__all__ = ["check_restored", "check_share", "check_training"]

ROUNDS = 2
RATE = 1e-2


class _Recording:
    """A phase that records the objectives it returned last."""

    def __init__(self, phase: Phase) -> None:
        self.last: Any = None
        self.phase = phase._replace(objectives=self)
        self._objectives = phase.objectives

    def __call__(self, batch: Any) -> Objectives:
        self.last = self._objectives(batch)
        return self.last  # type: ignore[no-any-return]


class _Sgd(torch.optim.SGD):
    """SGD that records which parameters got a gradient."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__(module.parameters(), lr=RATE)
        self.reached: set[int] = set()

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        self.reached |= {id(p) for group in self.param_groups for p in group["params"] if p.grad is not None}
        super().step()


def _optimisers(model: Model | FittedPrior) -> tuple[dict[str, nn.Module], dict[str, _Sgd]]:
    modules = dict(model.named_children())
    return modules, {name: _Sgd(module) for name, module in modules.items() if any(True for _ in module.parameters())}


def _snapshot(modules: Mapping[str, nn.Module]) -> dict[str, dict[str, Tensor]]:
    """Copies of every parameter and buffer of each module, including buffers that no state_dict holds."""
    return {
        name: {key: value.detach().clone() for key, value in [*module.named_parameters(), *module.named_buffers()]}
        for name, module in modules.items()
    }


def check_training(
    contract: Contract, model: Model | FittedPrior, batch: Batch | Codes, frozen: Collection[str]
) -> None:
    """Each phase changes the modules that it names and no other; every parameter that is not frozen gets a gradient."""
    model.train()
    modules, optimisers = _optimisers(model)
    given, what = batch[0], "codes" if isinstance(batch, Codes) else "images"
    before_all = given.clone()
    for round_ in range(ROUNDS):
        for phase in model.phases():
            recording = _Recording(phase)
            called = f"run_phase('{phase.name}', {len(given)} {what}), time {round_ + 1}"
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
    check_unchanged(contract, "training", f"batch.{batch._fields[0]}", given, before_all)
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
        "name its module in a phase whose loss uses it, remove unused modules, or pass frozen=('name',)",
    )


def _check_losses(contract: Contract, called: str, objectives: Objectives) -> None:
    for what, values in (("loss of", objectives.losses), ("note", objectives.note)):
        for name, value in values.items():
            contract.require(
                isinstance(value, Tensor) and value.shape == () and bool(torch.isfinite(value.detach())),
                f"{called}: the {what} '{name}'",
                f"{describe(value)} {value.detach().tolist() if isinstance(value, Tensor) else ''}".strip()[:200],
                "a finite scalar tensor",
                "reduce it with .mean() at the end",
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
                f"write nothing to '{name}' in the phase; name it in Objectives if the phase trains it",
            )


def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and bool(torch.equal(a.nan_to_num(), b.nan_to_num()))


def check_restored(contract: Contract, config: PartConfig, data: DataInfo, batch: Batch) -> None:
    """A model that is loaded from a state_dict saved during training takes the same next step as the original."""
    if contract.failures:
        return
    first = build_model(config, data, 0).train()
    _step(first, batch, 0)
    second = build_model(config, data, 1).train()
    if contract.call("load_state_dict(state_dict())", lambda: second.load_state_dict(first.state_dict())) is None:
        return
    for model in (first, second):
        _step(model, batch, 1)
    loaded = second.state_dict()
    different = [key for key, value in first.state_dict().items() if not _same(value, loaded[key])]
    contract.require(
        not different,
        "a step of training, and the same step of a model that its state_dict was loaded into",
        f"{', '.join(different[:4])} differ afterwards",
        "a checkpoint holds all that training depends on, so that a resumed run equals one that was never stopped",
        "register_buffer(...) what the model or a part remembers between steps, and draw only with torch",
    )


def check_share(contract: Contract, config: PartConfig, data: DataInfo, batch: Batch) -> None:
    """The losses of a model that does not state `uses_share` are the same at each share of a run."""
    if contract.failures or config.part.uses_share:  # type: ignore[attr-defined]
        return
    losses = [_losses(build_model(config, data, 0).train(), batch, share) for share in (0.1, 0.9)]
    different = [key for key, value in losses[0].items() if not _same(value, losses[1][key])]
    contract.require(
        not different,
        "the phases, with batch.share = 0.1 and with 0.9",
        f"{', '.join(different[:4])} differ",
        "losses that depend on the share of the run are stated, so that no finished run is lengthened with others",
        "set uses_share = True in the class body, or let the losses depend on batch.step",
    )


def _losses(model: Model, batch: Batch, share: float) -> dict[str, Tensor]:
    """The losses of each phase, by `phase/module`, at a share of a run."""
    batch = batch._replace(share=torch.tensor(share))
    losses: dict[str, Tensor] = {}
    for phase in model.phases():
        with seeded("testing", "share"):
            losses |= {f"{phase.name}/{name}": loss.detach() for name, loss in phase.objectives(batch).items()}
    return losses


def _step(model: Model, batch: Batch, step: int) -> None:
    modules, optimisers = _optimisers(model)
    with seeded("testing", "step", step):
        for phase in model.phases():
            run_phase(phase, batch, modules, optimisers)
