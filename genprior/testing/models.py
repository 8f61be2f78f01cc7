"""The contract of a model: its modules, its phases, its training and its images."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

import torch

from genprior.engine.build import build_model, model_config
from genprior.errors import PlanError
from genprior.parts import DataInfo, Model, Part, PartConfig, Phase
from genprior.testing.model_draws import check_draws
from genprior.testing.model_images import check_images
from genprior.testing.model_training import check_restored, check_share, check_training
from genprior.testing.report import Contract, ContractError, describe
from genprior.testing.settings import check_config, config_of
from genprior.testing.tensors import batch_of

__all__ = ["check_model"]


def check_model(
    config: PartConfig | Mapping[str, Any],
    info: DataInfo | None = None,
    *,
    batch: int = 8,
    frozen: Collection[str] = (),
    parts: Collection[type[Part]] = (),
) -> None:
    """Check that a model keeps its contract; see `genprior.Model`.

    Each parameter is owned by one module of the model and, unless the module is `frozen`, learns in some phase. Each
    phase, run twice with SGD, changes exactly the modules that it names: no parameter and no buffer of another one. All
    losses are finite scalars. `generate` returns images [n, c, h, w] in [-1, 1], the same ones under the same seed, and
    so does `reconstruct`; for a model that makes no images `generate` raises a PlanError. `draw_codes` and
    `draw_posterior` return codes of the width of those of `encode`, where a model has both. Two models of one seed
    start equal; a state_dict saved during training restores a model, and its next step equals the original's. A model
    whose losses depend on `Batch.share` states `uses_share`.

    Args:
        config: the model's settings, or the table `[model]` of a recipe, such as `{"name": "my_model", "encoder":
            {"name": "mlp", "hidden": [16]}, ...}`; with parts small enough to run a few dozen steps.
        info: the data's form; grey 16x16 images of three classes if not given.
        batch: images a step.
        frozen: names of modules that no phase trains.
        parts: classes that the table may name, beside those of the installed plugins.

    Raises:
        ContractError: lists every promise that is broken, or every mistake of the table.
    """
    try:
        config = model_config(config, parts)
    except PlanError as error:
        raise ContractError(str(error)) from error
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
    phases = contract.call("phases()", model.phases, "phases() returns the phases of a step")
    images = batch_of(data, batch, torch.float32, model.embedder)
    if model.embedder is not None:
        # Sentences of training images, which a model may keep to draw from, are there only after `begin`.
        starts = itertools.count(1)
        model.begin(lambda n: batch_of(data, n, torch.float32, model.embedder, next(starts)))
    if phases is not None and _check_phases(contract, phases):
        check_training(contract, model, images, frozen)
        check_restored(contract, config, data, images)
        check_share(contract, config, data, images)
        if not contract.failures:
            check_draws(contract, config, data, images)
    check_images(contract, model, data, images)
    contract.finish()


def _check_owners(contract: Contract, model: Model) -> None:
    modules = dict(model.named_children())
    owners = Counter(id(p) for module in modules.values() for p in module.parameters())
    shared = sorted(
        name
        for module_name, module in modules.items()
        for name in (f"{module_name}.{key}" for key, p in module.named_parameters() if owners[id(p)] > 1)
    )
    contract.require(
        not shared,
        "the modules of the model",
        f"several modules own {', '.join(shared[:4])}{' ...' if len(shared) > 4 else ''}",
        "each parameter is owned once",
        "name the other role in `borrows`, and keep the Borrowed object that __init__ is given",
    )
    contract.require(
        any(name in modules for name in model.generating),
        f"generating = {model.generating!r}",
        f"the model's modules are {', '.join(modules) or 'none'}",
        "`generating` names the modules that make images",
        'set generating = ("decoder", ...) in the class body',
    )


def _check_start(contract: Contract, config: PartConfig, data: DataInfo, model: Model) -> None:
    torch.rand(3)  # other draws in between must make no difference
    first, second = model.state_dict(), build_model(config, data, 0).state_dict()
    different = [key for key in first if key not in second or not torch.equal(first[key], second[key])]
    contract.require(
        not different,
        "build_model(config, info, seed=0), twice",
        f"{', '.join(different[:4])} differ",
        "two models of one seed start equal",
        "draw only with torch's default generators, which build(role, config, sizes) and build.module(role, make) seed",
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
