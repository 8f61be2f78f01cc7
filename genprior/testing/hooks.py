"""The contract of a hook."""

from __future__ import annotations

import inspect
import tempfile
from pathlib import Path
from typing import Any

import torch

from genprior.parts import Hook, HookConfig, PartConfig
from genprior.randomness import seeded
from genprior.runs.trainer import Trainer
from genprior.runs.trial import trial
from genprior.testing.report import Contract
from genprior.testing.settings import check_config, config_of
from genprior.testing.stand_in import stand_ins

__all__ = ["check_hook"]

STOPPED = 3
"""The step at which the run is interrupted."""


def check_hook(
    part: PartConfig | type[Hook], *, model: PartConfig | None = None, data: PartConfig | None = None
) -> None:
    """Check that a hook keeps its contract; see `genprior.Hook`.

    It is called in a real run of six steps on a small data set, with records in every second step only, which is
    interrupted, resumed, and resumed again after its last step. It overrides at least one method of `genprior.Hook`,
    and none of its methods raises. It leaves the run as it is: weights, records and modes are those of the same run
    without the hook, no file of the run is removed, and its own files are in folders below the run's. Two objects of
    the hook share nothing: a second run after the first writes the same files. The settings survive a file, and derive
    from `HookConfig`.

    Args:
        part: the settings or the class.
        model: the settings of the model to train, for a hook that needs what the default model lacks; that is a small
            conditional autoencoder, with codes and without a prior or likelihood.
        data: the settings of the data set; by default small images of three shapes.

    Raises:
        ContractError: lists every promise that is broken.
    """
    config = config_of(part, Hook)
    contract = Contract(config.part, f"{config!r}, and called in a run of six steps")
    check_config(contract, config)
    if not isinstance(config, HookConfig):
        contract.require(
            False,
            type(config).__qualname__,
            "settings without `enabled` and `on_error`",
            "the settings of a hook derive from genprior.HookConfig, so that each hook can be switched off",
            "write class Config(HookConfig): in the class",
        )
        return contract.finish()
    # An exception ends the run, also where the settings say that it is only a warning.
    strict = config.model_copy(update={"on_error": "stop"})
    _check_methods(contract, config.part)
    if not contract.failures:
        with tempfile.TemporaryDirectory() as root:
            plain = _run(contract, Path(root, "plain"), None, model, data)
            first = _run(contract, Path(root, "first"), strict, model, data)
            if first is not None and plain is not None and not contract.failures:
                _check_unchanged(contract, plain, first)
                second = _run(contract, Path(root, "second"), strict, model, data)
                if second is not None:
                    _check_again(contract, first, second, Path(root))
    contract.finish()


def _check_methods(contract: Contract, cls: type) -> None:
    """The hook hears something, and each method that is named like one of `Hook` takes its arguments."""
    events = [name for name, value in vars(Hook).items() if inspect.isfunction(value) and not name.startswith("_")]
    own = {name for base in cls.__mro__ if issubclass(base, Hook) and base is not Hook for name in vars(base)}
    contract.require(
        bool(own.intersection(events)),
        f"the class {cls.__qualname__}",
        f"it defines {', '.join(sorted(name for name in own if not name.startswith('_'))) or 'no method'}",
        f"a hook overrides at least one of: {', '.join(events)}; no other method is called",
        "check the names of its methods",
    )


def _run(
    contract: Contract, folder: Path, config: HookConfig | None, model: PartConfig | None, data: PartConfig | None
) -> Trainer | None:
    """The trainer of a run that was interrupted and resumed, twice; None where the hook raised."""
    hooks = {} if config is None else {config.name: config}
    finished = None
    for until in (STOPPED, None, None):
        when = f"until step {until}" if until else "to its end"
        with seeded("testing", "run"):
            run = trial(folder, *stand_ins(model, data), hooks=hooks)
            result = contract.call(f"a run {when}", lambda run=run, until=until: run.run(until), "no method raises")  # type: ignore[misc]
        if result is None:
            return None
        if finished is None and run.step == run.plan.run.steps:
            finished = run
    return finished


def _check_unchanged(contract: Contract, plain: Trainer, hooked: Trainer) -> None:
    """The run with the hook is the run without it."""
    called = "a run with the hook, and the same run without it"
    theirs = hooked.model.state_dict()
    changed = [key for key, value in plain.model.state_dict().items() if not torch.equal(value, theirs[key])]
    contract.require(
        not changed,
        called,
        f"other weights: {', '.join(changed[:4])}",
        "a hook changes nothing of the run",
        "look at the model inside `with run.trained() as model:`, and write to none of its tensors",
    )
    modes = [name or "the model" for name, module in hooked.model.named_modules() if not module.training]
    contract.require(
        not modes,
        called,
        f"{', '.join(modes[:4])} left in evaluation mode",
        "a hook leaves each module in its mode",
        "look at the model inside `with run.trained() as model:`, which restores the modes",
    )
    frozen = [name for name, p in hooked.model.named_parameters() if not p.requires_grad]
    contract.require(
        not frozen, called, f"{', '.join(frozen[:4])} frozen", "a hook freezes nothing", "leave requires_grad as it is"
    )
    records = [[_without_time(line) for line in run.metrics] for run in (plain, hooked)]
    contract.require(
        records[0] == records[1],
        called,
        "other lines of metrics.jsonl",
        "a hook changes no records: `metrics` and `run.metrics` are for reading",
        "work on a copy: dict(metrics)",
    )
    own = _files(plain.folder)
    lost = [name for name in own if not (hooked.folder / name).exists()]
    contract.require(
        not lost,
        called,
        f"{', '.join(lost)} is gone",
        "a hook leaves the run's files alone",
        "remove only your own files",
    )
    added = sorted(name for name in _files(hooked.folder) - own if "/" not in name)
    contract.require(
        not added,
        called,
        f"{', '.join(added)} beside the run's own files",
        "a hook writes into a folder of its own below the run's folder",
        "write to run.folder / self.name, and make that folder first",
    )


def _check_again(contract: Contract, first: Trainer, second: Trainer, root: Path) -> None:
    names = [_files(run.folder) for run in (first, second)]
    contract.require(
        names[0] == names[1],
        "two runs, one after the other",
        f"only one of them has {', '.join(sorted(names[0] ^ names[1])[:4])}",
        "each run has a hook of its own, which depends on no other run",
        "hold what the hook remembers on self, set in __init__, and write below run.folder",
    )
    beside = sorted(path.name for path in root.iterdir() if path.name not in ("plain", "first", "second"))
    contract.require(
        not beside,
        "two runs",
        f"{', '.join(beside)} beside the run's folder",
        "a hook writes below the run's folder",
        "write to run.folder / self.name",
    )


def _files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def _without_time(line: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in line.items() if key != "seconds"}
