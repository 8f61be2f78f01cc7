"""Helpers of tests of early stopping: a small recipe, a score whose numbers are scripted, and what runs wrote."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from genprior import Column, Hook, HookConfig, PartConfig, Score, ScoreError, hookimpl
from genprior.runs.trainer import Trainer

from .core.test_optimiser_parts import Free

RECIPE = """
title = "small"
scores = [{ name = "elbo" }]
[run]
steps = 16
batch = 40
checkpoint_every = 5
log_every = 3
sample_every = 100
hooks.pictures.enabled = false
[data]
name = "digits"
size = 8
binarise = "dynamic"
validation = 60
[optimiser.default]
lr = 3e-2
[model]
name = "vae"
code_size = 2
warmup = 1
prior = { name = "gaussian" }
encoder = { name = "mlp", hidden = [8], posterior = "gaussian", batch_norm = true }
decoder = { name = "mlp", hidden = [8] }
reconstruction = { name = "pixel", metric = "bernoulli", reduction = "sum" }
"""
ELBO = ('run.stop.score={name="elbo"}', "run.stop.every=2")


class Scripted(Score):
    """The k-th number of a script after k * `every` steps, whatever the images."""

    name = "scripted"
    higher_is_better = True

    class Config(PartConfig):
        """The script."""

        values: tuple[float | str, ...] = (0.0,)
        """The numbers; "nan" is one."""
        every: int = 2
        """The steps between two."""
        reads: tuple[str, ...] = ("test",)
        """The splits that it reads."""

    @property
    def columns(self):
        return (Column("gain", "gain", True), Column("loss", "loss", False), Column("none", "none", True, "it is odd"))

    def measure(self, context):
        for split in self.config.reads:
            context.real(split)
        with context.trained() as model:
            assert not model.training
            torch.rand(7)  # draws of its own
            value = float(self.config.values[max(0, int(model.steps_seen) // self.config.every - 1)])
        return {"gain": value, "loss": value}


class Lone(Score):
    """One column that has another name, which fails on few images."""

    name = "lone"
    higher_is_better = False

    class Config(PartConfig):
        """How many images it needs."""

        least: int = 30
        """The fewest."""

    @property
    def columns(self):
        return (Column("only", "only", False),)

    def measure(self, context):
        n = len(context.real("test").labels)
        if n < self.config.least:
            raise ScoreError(f"{n} images are too few")
        return {"only": float(n)}


SEEN: list = []
SPLITS: dict = {}
"""The images, which are read once."""


class Watches(Hook):
    """Notes what it sees."""

    name = "watches"

    class Config(HookConfig):
        """No settings."""

        enabled: bool = False
        """Whether it watches."""

    def step_done(self, run, step, metrics):
        SEEN.append(("step", step, metrics))

    def sampled(self, run, step, images):
        SEEN.append(("sampled", step, run.ended))

    def finished(self, run, scores):
        SEEN.append(("finished", run.step, {k: v.clone() for k, v in run.model.state_dict().items()}))


class Plugin:
    @hookimpl
    def genprior_parts(self, register):
        for part in (Scripted, Lone, Watches, Free):
            register(part)


def scripted(*values, patience=2, column="gain", **more):
    text = ", ".join(f'"{each}"' if isinstance(each, str) else str(each) for each in values)
    given = [f'run.stop.score={{name="scripted",values=[{text}]}}', "run.stop.every=2", f"run.stop.patience={patience}"]
    return (*given, f'run.stop.column="{column}"', *(f"run.stop.{key}={value}" for key, value in more.items()))


def small_trainer(plan, seed, folder, **given):
    """A trainer of a row of the small recipe, on the CPU."""
    return Trainer(plan, seed, folder, device="cpu", splits=SPLITS, **given)


def steps_kept(folder: Path) -> list[int]:
    return sorted(int(each.stem.removeprefix("step-")) for each in (folder / "checkpoints").glob("*.safetensors"))


def facts(folder: Path) -> dict:
    return json.loads((folder / "run.json").read_text())


def outcome(folder: Path) -> tuple:
    kept = facts(folder)
    return kept["stopped_step"], kept["best_step"], kept["best_value"], kept["step"], kept["finished"]


def records(folder: Path) -> list[dict]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]
