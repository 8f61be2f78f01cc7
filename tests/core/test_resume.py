"""A run that stopped at any step resumes to the same result."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import genprior
from genprior.errors import Interrupted, RunError
from genprior.runs.folder import RunFolder
from genprior.runs.trainer import Trainer

WITHOUT_CURVES = pytest.mark.usefixtures("no_curves")

PLANS = {
    "aae": ("AAE", ()),
    "both phases": ("A+B+C", ()),
    "averaged weights": ("A+B+C", ("run.ema=0.9",)),
    "schedule": ("A+B+C", ('optimiser.default.schedule={name="cosine",warmup=3}', "run.ema=0.9")),
    "rmsprop": ("A+B+C", ('optimiser.encoder.name="rmsprop"', "optimiser.encoder.momentum=0.5")),
    "bf16": ("A+B+C", ('run.precision="bf16"',)),
    "infogan": ("A+B+C", ('model.conditioner={name="infogan",categorical=[4],continuous=1}',)),
    "label": ("A+B+C", ('model.conditioner={name="label"}',)),
}
LONG = ("run.steps=20", "run.checkpoint_every=10", "run.log_every=5")


def last(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(sorted((folder / "checkpoints").glob("*.safetensors"))[-1])


def without_times(folder: Path) -> list[dict]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "seconds"} for line in lines]


@WITHOUT_CURVES
@pytest.mark.parametrize("name", PLANS)
def test_twenty_steps_equal_ten_and_ten_bit_for_bit(name, tiny_plan, tmp_path):
    label, settings = PLANS[name]
    plan = tiny_plan(label, *LONG, *settings)
    Trainer(plan, 3, tmp_path / "once").run()
    Trainer(plan, 3, tmp_path / "twice").run(until=10)
    Trainer(plan, 3, tmp_path / "twice").run()
    once, twice = last(tmp_path / "once"), last(tmp_path / "twice")
    assert once.keys() == twice.keys()
    assert [key for key in once if not torch.equal(once[key], twice[key])] == []
    assert without_times(tmp_path / "once") == without_times(tmp_path / "twice")


@WITHOUT_CURVES
def test_the_seed_matters(tiny_plan, tmp_path):
    plan = tiny_plan("A+B+C")
    for seed in (0, 1):
        Trainer(plan, seed, tmp_path / str(seed)).run()
    one, other = last(tmp_path / "0"), last(tmp_path / "1")
    assert any(not torch.equal(one[key], other[key]) for key in one)


def test_rows_start_from_the_same_encoder_and_decoder(tiny_plan, tmp_path):
    models = []
    for label in ("AAE", "A+B+C"):
        trainer = Trainer(tiny_plan(label), 0, tmp_path / label)
        trainer.prepare()
        models.append(trainer.model)
    for role in ("encoder", "decoder", "code_critic"):
        for one, other in zip(*(getattr(m, role).parameters() for m in models), strict=True):
            assert torch.equal(one, other)


@WITHOUT_CURVES
def test_a_stop_between_checkpoints_leaves_one_and_loses_no_step(tiny_plan, tmp_path):
    plan = tiny_plan("A+B+C", *LONG)
    asked = iter([False] * 6 + [True] * 100)
    with pytest.raises(Interrupted, match=r"row 'A\+B\+C' stopped after 7 of 20 steps"):
        Trainer(plan, 0, tmp_path / "stopped", stop=lambda: next(asked)).run()
    assert [p.stem for p in (tmp_path / "stopped" / "checkpoints").glob("*.safetensors")] == ["step-00000007"]
    Trainer(plan, 0, tmp_path / "stopped").run()
    Trainer(plan, 0, tmp_path / "whole").run()
    stopped, whole = last(tmp_path / "stopped"), last(tmp_path / "whole")
    assert [key for key in whole if not torch.equal(whole[key], stopped[key])] == []


@WITHOUT_CURVES
@pytest.mark.parametrize("stop", [3, 7, 14])
def test_the_record_after_a_resume_averages_over_the_steps_before_it_too(stop, tiny_plan, tmp_path):
    """Records are of 5 steps each, and training stops between them."""
    plan = tiny_plan("A+B+C", *LONG)
    Trainer(plan, 0, tmp_path / "once").run()
    Trainer(plan, 0, tmp_path / "twice").run(until=stop)
    Trainer(plan, 0, tmp_path / "twice").run()
    assert without_times(tmp_path / "once") == without_times(tmp_path / "twice")


@WITHOUT_CURVES
def test_records_after_the_last_checkpoint_are_written_anew(tiny_plan, tmp_path):
    """A kill after step 15's record and before step 20's checkpoint: the records of 15 come again, once."""
    plan = tiny_plan("AAE", *LONG)
    Trainer(plan, 0, tmp_path).run(until=10)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 15, "seconds": 1.0}\n{"step": 20, "sec')
    Trainer(plan, 0, tmp_path).run()
    assert [line["step"] for line in without_times(tmp_path)] == [5, 10, 15, 20]


@WITHOUT_CURVES
def test_a_finished_run_is_not_trained_again(tiny_plan, tmp_path, monkeypatch):
    plan = tiny_plan("AAE")
    Trainer(plan, 0, tmp_path).run()
    monkeypatch.setattr(Trainer, "one_step", lambda self: pytest.fail("trained again"))
    assert RunFolder(tmp_path).finished(plan)
    assert Trainer(plan, 0, tmp_path).run() == {}


def test_the_folder_says_what_was_run(tiny_plan, tmp_path):
    plan = tiny_plan("A+B+C", "run.ema=0.9")
    Trainer(plan, 5, tmp_path).run()
    facts = json.loads((tmp_path / "run.json").read_text())
    assert (facts["seed"], facts["step"], facts["finished"], facts["label"]) == (5, 6, True, "A+B+C")
    assert facts["versions"]["torch"] == torch.__version__.split("+")[0] or facts["versions"]["torch"]
    assert facts["plugins"]["std"].startswith("genprior ")
    assert facts["parameters"]["prior"] == 2 * 3 * 3 + 6 + 2 * 6 + 6 * 4 + 4 + 2 * 4  # FC 3 -> 6, BN, FC 6 -> 4, BN
    assert not plan.differences(tomllib.loads((tmp_path / "recipe.toml").read_text()))
    assert sorted(p.name for p in (tmp_path / "samples").iterdir()) == [
        "codes.png",
        "curves.png",
        "real.png",
        "reconstructions.png",
        "step-00000006.png",
    ]


@WITHOUT_CURVES
def test_a_loaded_run_samples_what_the_trainer_sampled(tiny_plan, tmp_path):
    trainer = Trainer(tiny_plan("A+B+C", "run.ema=0.9"), 0, tmp_path)
    trainer.run()
    run = genprior.load_run(tmp_path)
    assert torch.equal(run.sample(30, seed=4), trainer.sample(30, seed=4))
    assert torch.equal(run.sample(10, seed=4), run.sample(30, seed=4)[:10])
    assert not torch.equal(run.sample(10, seed=4), run.sample(10, seed=5))
    assert run.sample(3).shape == (3, 1, 8, 8)


def test_a_run_of_before_a_setting_existed_goes_on_where_the_setting_is_at_its_default(tiny, tmp_path):
    (plan,) = genprior.load_recipe(tiny, rows=["AAE"]).plans
    older = plan.as_table()
    for table, key in (("data", "binarise"), ("optimiser", "eps")):
        (older[table] if table == "data" else older[table]["default"]).pop(key)
    assert plan.differences(older) == []
    (changed,) = genprior.load_recipe(tiny, rows=["AAE"], settings=['data.binarise="static"']).plans
    assert changed.differences(older) == ["data.binarise: was 'absent', is 'static'"]
    assert plan.differences({}) != []


@WITHOUT_CURVES
def test_a_run_that_holds_a_retired_setting_goes_on_if_the_setting_had_its_last_value(tiny_plan, tmp_path):
    """Run folders hold every setting; `kernel` of the networks of DCGAN is 5 for good since it is retired."""
    plan = tiny_plan("AAE", 'model.decoder={name="dcgan",width=2}', "data.size=16")
    Trainer(plan, 0, tmp_path).run(until=3)
    kept = tmp_path / "recipe.toml"
    written = kept.read_text()
    assert "kernel" not in written
    kept.write_text(written.replace("[model.decoder]\n", "[model.decoder]\nkernel = 4\n"))
    with pytest.raises(RunError, match="model.decoder.kernel: was 4, is 'absent'"):
        Trainer(plan, 0, tmp_path).run()
    kept.write_text(written.replace("[model.decoder]\n", "[model.decoder]\nkernel = 5\n"))
    assert genprior.load_run(tmp_path).plan.differences(plan.as_table()) == []
    Trainer(plan, 0, tmp_path).run()
    assert genprior.load_run(tmp_path).finished


CONVOLUTIONS = [
    'model.encoder={name="residual",width=4}',
    'model.decoder={name="residual",width=4}',
    'model.image_critic={name="image_convolutional",width=4}',
    'model.reconstruction={name="pixel"}',
]


@WITHOUT_CURVES
@pytest.mark.parametrize("optimiser", ["adam", "adam_norm_grad", "rmsprop", "sgd"])
def test_convolutions_resume_bit_for_bit(optimiser, tiny_plan, tmp_path):
    """Weights lie channels last in memory and a checkpoint's tensors do not: moments must follow the weights."""
    momentum = ["optimiser.default.momentum=0.9"] if optimiser in ("rmsprop", "sgd") else []
    plan = tiny_plan("AAE", *CONVOLUTIONS, f'optimiser.default.name="{optimiser}"', *momentum, "run.ema=0.9")
    Trainer(plan, 3, tmp_path / "once").run()
    Trainer(plan, 3, tmp_path / "twice").run(until=3)
    Trainer(plan, 3, tmp_path / "twice").run()
    once, twice = last(tmp_path / "once"), last(tmp_path / "twice")
    assert [name for name in once if not torch.equal(once[name], twice[name])] == []
    assert any(name.startswith("optimiser/encoder") and value.dim() == 4 for name, value in once.items())


def test_restored_moments_lie_in_memory_as_their_parameters(tiny_plan, tmp_path):
    plan = tiny_plan("AAE", *CONVOLUTIONS)
    Trainer(plan, 0, tmp_path).run(until=3)
    trainer = Trainer(plan, 0, tmp_path)
    trainer.prepare()
    trainer._resume()
    there = [
        (parameter.stride(), moment.stride())
        for optimiser in trainer.optimisers.values()
        for parameter, state in optimiser.state.items()
        for moment in (state["exp_avg"], state["exp_avg_sq"])
    ]
    assert there and all(weight == moment for weight, moment in there)
    assert any(weight[1] == 1 < weight[2] for weight, _ in there if len(weight) == 4)


@WITHOUT_CURVES
def test_samples_that_could_not_be_written_are_drawn_when_the_run_resumes(tiny_plan, tmp_path):
    plan = tiny_plan("A+B+C", *LONG, "run.sample_every=10")
    Trainer(plan, 3, tmp_path / "whole").run()
    Trainer(plan, 3, tmp_path / "lost").run(until=10)
    (tmp_path / "lost" / "samples" / "step-00000010.png").unlink()
    Trainer(plan, 3, tmp_path / "lost").run()
    for name in ("step-00000010.png", "step-00000020.png"):
        whole, lost = (tmp_path / folder / "samples" / name for folder in ("whole", "lost"))
        assert whole.read_bytes() == lost.read_bytes()


def test_a_resumed_run_computes_with_the_threads_that_it_had(tiny_plan, tmp_path, monkeypatch):
    monkeypatch.setattr("genprior.runs.resumed.cores", lambda: 2)
    plan, used = tiny_plan("A+B+C", "run.steps=2"), []
    torch.set_num_threads(2)
    Trainer(plan, 0, tmp_path, device="cpu").run(until=1)
    torch.set_num_threads(1)
    Trainer(plan, 0, tmp_path, device="cpu", stop=lambda: used.append(torch.get_num_threads()) is not None).run()
    assert used == [2]
    assert torch.get_num_threads() == 1
    assert json.loads((tmp_path / "run.json").read_text())["hardware"]["threads"] == 2


@pytest.mark.parametrize("threads", [64, 0, True, "2", None])
def test_threads_that_the_machine_does_not_have_are_not_used(threads, tiny_plan, tmp_path, monkeypatch):
    monkeypatch.setattr("genprior.runs.resumed.cores", lambda: 2)
    plan = tiny_plan("A+B+C", "run.steps=2")
    Trainer(plan, 0, tmp_path, device="cpu").run(until=1)
    facts = json.loads((tmp_path / "run.json").read_text())
    facts["hardware"] = {} if threads is None else facts["hardware"] | {"threads": threads}
    (tmp_path / "run.json").write_text(json.dumps(facts))
    Trainer(plan, 0, tmp_path, device="cpu").run()
    assert json.loads((tmp_path / "run.json").read_text())["hardware"]["threads"] == 1
