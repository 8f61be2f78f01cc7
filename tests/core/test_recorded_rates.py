"""The learning rates that runs record: those that schedules change, and no others."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch import nn

from genprior import ScheduleConfig
from genprior.engine.optimise import Optimisers
from genprior.parts import Schedule
from genprior.pictures import grids
from genprior.pictures.grids import draw_curves
from genprior.runs.trainer import Trainer
from genprior.testing import ContractError, check_schedule
from genprior_std.optimisers.adam import Adam
from genprior_std.schedules.constant import Constant
from genprior_std.schedules.cosine import Cosine
from genprior_std.schedules.plateau import Plateau


def optimisers(steps=10, **schedules):
    modules = {name: nn.Linear(2, 2) for name in schedules}
    given = {name: {} if each is None else {"schedule": each} for name, each in schedules.items()}
    configs = {name: Adam.Config(lr=0.5, **each) for name, each in given.items()}
    return Optimisers(configs, modules, steps)


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def recorded(line):
    return {key: value for key, value in line.items() if key.endswith("/lr")}


def test_a_rate_is_recorded_where_a_schedule_changes_it():
    made = optimisers(none=None, still=Constant.Config(), warm=Constant.Config(warmup=4), falls=Cosine.Config())
    for step in range(10):
        assert made.rates(step) == {
            "optimiser/warm/lr": 0.5 * min(1, (step + 1) / 4),
            "optimiser/falls/lr": pytest.approx(0.25 * (1 + math.cos(math.pi * step / 10))),
        }


def test_the_recorded_rate_is_the_one_that_the_step_had():
    made = optimisers(steps=40, a=Plateau.Config(metric="loss", patience=1, factor=0.5))
    seen = set()
    for step in range(40):
        made.set_rates(step)
        used = made.of["a"].param_groups[0]["lr"]
        assert made.rates(step) == {"optimiser/a/lr": used}
        seen.add(used)
        made.recorded({"step": step + 1, "loss": 1.0})
    assert len(seen) > 3


def test_no_tensor_is_asked_for_a_rate(monkeypatch):
    def asked(*args):
        raise AssertionError("a tensor was read")

    made = optimisers(a=Cosine.Config())
    for name in ("item", "tolist", "cpu", "numpy", "__float__", "__bool__"):
        monkeypatch.setattr(torch.Tensor, name, asked)
    assert type(made.rates(3)["optimiser/a/lr"]) is float


def test_a_run_records_the_rates_of_its_schedules(tiny_plan, tmp_path):
    """Six steps, a record for every two: the rates of steps 1, 3 and 5, of which the first is 0."""
    plan = tiny_plan(
        "A+B+C",
        'optimiser.encoder={schedule={name="linear"}}',
        "optimiser.decoder={schedule={}}",
        "optimiser.code_critic={lr=4e-3,schedule={warmup=4}}",
        "run.hooks.pictures.enabled=false",
    )
    Trainer(plan, 0, tmp_path / "run").run()
    found = lines(tmp_path / "run")
    assert [line["step"] for line in found] == [2, 4, 6]
    falls, rises = ([line[f"optimiser/{name}/lr"] for line in found] for name in ("encoder", "code_critic"))
    assert falls == pytest.approx([1e-3 * (1 - step / 6) for step in (1, 3, 5)])
    assert rises == [2e-3, 4e-3, 4e-3]
    assert {key for line in found for key in recorded(line)} == {"optimiser/encoder/lr", "optimiser/code_critic/lr"}


def test_the_curves_show_the_rates(tmp_path, monkeypatch):
    drawn = []
    real = grids._render
    monkeypatch.setattr(grids, "_render", lambda figure: drawn.append(figure) or real(figure))
    draw_curves([{"step": 2, "optimiser/a/lr": 0.5}, {"step": 4, "optimiser/a/lr": 0.25}], tmp_path / "curves.png")
    (axis,) = drawn[0].axes
    assert axis.get_title() == "optimiser/a/lr" and list(axis.lines[0].get_ydata()) == [0.5, 0.25]


def test_a_run_without_schedules_records_none(tiny_plan, tmp_path):
    Trainer(tiny_plan("A+B+C", "run.hooks.pictures.enabled=false"), 0, tmp_path / "run").run()
    assert [recorded(line) for line in lines(tmp_path / "run")] == [{}, {}, {}]


def test_a_resumed_run_records_the_same_rates(tiny_plan, tmp_path):
    plan = tiny_plan("AAE", 'optimiser.default.schedule={name="cosine"}', "run.hooks.pictures.enabled=false")
    Trainer(plan, 0, tmp_path / "whole").run()
    Trainer(plan, 0, tmp_path / "parts").run(until=3)
    Trainer(plan, 0, tmp_path / "parts").run()
    whole, parts = (list(map(recorded, lines(tmp_path / name))) for name in ("whole", "parts"))
    assert whole == parts and all(whole)


def test_a_schedule_that_claims_to_be_constant_and_is_not_breaks_its_contract():
    class Halves(Schedule):
        name = "halves"
        constant = True

        class Config(ScheduleConfig):
            pass

        def factor(self, step, steps):
            return 1.0 if step < 5 else 0.5

    with pytest.raises(ContractError) as caught:
        check_schedule(Halves)
    (failure,) = caught.value.failures
    assert (failure.called, failure.do) == ("factor(5, 10)", "remove `constant = True` from the class")
