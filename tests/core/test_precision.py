"""`run.precision = "auto"` is measured, kept for the machine and recorded; a resumed run keeps its precision."""

from __future__ import annotations

import json

import pytest
import torch

import genprior
from genprior.engine import precision
from genprior.engine.precision import WORTH, choose_precision, speed_of_bf16, time_convolutions
from genprior.runs.trainer import Trainer

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("speed", "chosen"), [(0.4, "float32"), (1.09, "float32"), (WORTH, "bfloat16"), (3, "bfloat16")]
)
def test_auto_is_bf16_where_it_was_measured_to_be_faster(speed, chosen):
    choice = choose_precision("auto", CPU, measure=lambda: speed)
    assert (choice.name, choice.bf16_speed) == (chosen, speed)


@pytest.mark.parametrize(("stated", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_a_stated_precision_is_not_measured_and_not_overridden_by_what_is_recorded(stated, dtype):
    other = {"precision": "bfloat16" if stated == "fp32" else "float32"}
    choice = choose_precision(stated, CPU, recorded=other, measure=lambda: pytest.fail("measured"))
    assert choice == (dtype, None)


@pytest.mark.parametrize("recorded", [{}, {"precision": "float8"}, {"precision": None}, {"threads": 2}])
def test_a_record_without_a_known_precision_does_not_count(recorded):
    assert choose_precision("auto", CPU, recorded=recorded, measure=lambda: 2.0).dtype == torch.bfloat16


class Timing:
    """Injected seconds of a step in fp32 and in bf16, which count how often they are asked for."""

    def __init__(self, single, half):
        self.seconds, self.calls = (single, half), 0

    def __call__(self):
        self.calls += 1
        return self.seconds


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty cache folder."""
    monkeypatch.setenv("GENPRIOR_DATA", str(tmp_path / "cache"))
    return tmp_path / "cache" / "precision"


def test_the_measurement_is_kept_for_the_machine(folder):
    first, second = Timing(3.0, 2.0), Timing(1.0, 5.0)
    assert speed_of_bf16(first) == speed_of_bf16(first) == 1.5
    (file,) = folder.glob("*.json")
    assert json.loads(file.read_text())["bf16_speed"] == 1.5
    assert speed_of_bf16(second) == 1.5, "another process reads what the first has written"
    assert (first.calls, second.calls) == (1, 0)


def test_another_processor_or_torch_is_measured_anew(folder, monkeypatch):
    assert speed_of_bf16(Timing(3.0, 2.0)) == 1.5
    monkeypatch.setattr(precision, "device_name", lambda device: "another processor")
    assert speed_of_bf16(Timing(1.0, 2.0)) == 0.5
    monkeypatch.setattr(torch, "__version__", "9.9")
    assert speed_of_bf16(Timing(4.0, 1.0)) == 4.0
    assert len(list(folder.glob("*.json"))) == 3


@pytest.mark.parametrize("text", ["", "{}", '{"bf16_speed": -1}', '{"bf16_speed": "fast"}', "[]"])
def test_a_damaged_file_is_measured_anew(folder, text):
    speed_of_bf16(Timing(3.0, 2.0))
    (file,) = folder.glob("*.json")
    file.write_text(text)
    assert speed_of_bf16(Timing(2.0, 1.0)) == 2.0
    assert json.loads(file.read_text())["bf16_speed"] == 2.0


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GENPRIOR_DATA", str(tmp_path / "file" / "cache"))
    timing = Timing(1.0, 4.0)
    assert speed_of_bf16(timing) == speed_of_bf16(timing) == 0.25
    assert timing.calls == 1


def test_timing_leaves_threads_and_generators_as_they_were():
    torch.set_num_threads(2)
    state = torch.get_rng_state()
    with torch.no_grad():
        single, half = time_convolutions(repeats=1)
    assert single > 0
    assert half > 0
    assert torch.get_num_threads() == 2
    assert torch.equal(torch.get_rng_state(), state)


def test_the_choice_and_its_measurement_are_recorded_and_a_resumed_run_keeps_them(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(precision, "speed_of_bf16", lambda: 1.7)
    (plan,) = genprior.load_recipe(tiny, rows=["AAE"]).plans
    Trainer(plan, 0, tmp_path / "run").run(until=3)
    monkeypatch.setattr(precision, "speed_of_bf16", lambda: 0.5)
    resumed = Trainer(plan, 0, tmp_path / "run")
    resumed.run()
    assert resumed.precision == (torch.bfloat16, 1.7)
    hardware = json.loads((tmp_path / "run" / "run.json").read_text())["hardware"]
    assert (hardware["precision"], hardware["bf16_speed"]) == ("bfloat16", 1.7)
    Trainer(plan, 0, tmp_path / "new").run()
    hardware = json.loads((tmp_path / "new" / "run.json").read_text())["hardware"]
    assert (hardware["precision"], hardware["bf16_speed"]) == ("float32", 0.5)
