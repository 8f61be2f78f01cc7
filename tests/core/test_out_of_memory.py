"""A row that lacks memory fails with a message that says what to lower; the other rows go on, and have its memory."""

from __future__ import annotations

import gc
import re
import weakref

import pytest
import torch

import genprior
from genprior.errors import OutOfMemory, PartFailed
from genprior.launch.reporter import Reporter
from genprior.launch.train import train
from genprior.runs.memory import naming_memory, ran_out_of_memory
from genprior.runs.trainer import Trainer
from genprior_std.priors.code_generator import CodeGenerator

BATCH = 40
ON_GPU = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.11 GiB"


class Told(Reporter):
    """Remembers which rows finished and which failed."""

    def __init__(self):
        self.done, self.errors = [], {}

    def finished(self, job, scores):
        self.done.append(job.plan.label)

    def failed(self, job, error):
        self.errors[job.plan.label] = error


def refuse(monkeypatch, error, images=BATCH):
    """Let the prior of row A+B+C lack memory for that many codes, which no step on a few images draws."""
    real, models = CodeGenerator.sample, []

    def sample(self, asked):
        models.append(weakref.ref(self))
        held = torch.zeros(10)  # a variable of the frame, as the tensors of a real failure are
        if len(asked) == images:
            raise type(error)(*error.args)
        return real(self, asked) + held.sum()

    monkeypatch.setattr(CodeGenerator, "sample", sample)
    return models


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError(ON_GPU),
        MemoryError("Unable to allocate 2 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:119] . DefaultCPUAllocator: can't allocate memory: you tried to"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_the_message_says_what_to_lower_and_the_other_rows_go_on(error, tiny, tmp_path, monkeypatch, no_curves):
    models = refuse(monkeypatch, error)
    recipe = genprior.load_recipe(tiny, settings=[f"run.batch={BATCH}"])
    told = Told()
    with pytest.raises(OutOfMemory) as caught:
        train(recipe, rows=["A+B+C", "AAE"], out=tmp_path / "out", device="cpu", reporter=told)
    assert told.done == ["AAE"]
    text = str(told.errors["A+B+C"])
    assert text.startswith(
        "row 'A+B+C': out of memory on this machine, with run.batch = 40, in prior 'code_generator': "
    )
    assert str(error)[:40] in text
    assert text.endswith(
        "Lower run.batch or the width of the networks (--set run.batch=20), or train fewer rows side by side "
        "(--jobs 1) if the other rows and programs leave too little"
    )
    assert caught.value.exit_code == 1
    gc.collect()
    assert all(model() is None for model in models), "the failure, which is alive, keeps no model"


def test_the_command_prints_it_without_a_traceback(tiny, tmp_path, call, monkeypatch, no_curves):
    refuse(monkeypatch, torch.OutOfMemoryError(ON_GPU))
    done = call("train", tiny, "--jobs", 1, "--set", f"run.batch={BATCH}", "--out", tmp_path / "out")
    assert done.exit_code == 1
    assert "A+B+C: row 'A+B+C': out of memory" in done.output
    assert "Traceback" not in done.output
    assert (tmp_path / "out" / "AAE" / "seed-0" / "scores.json").exists()


def test_scoring_names_the_samples(tiny, tmp_path, monkeypatch, no_curves):
    def score(self):
        raise torch.OutOfMemoryError(ON_GPU)

    monkeypatch.setattr(Trainer, "score", score)
    (plan,) = genprior.load_recipe(tiny, rows=["AAE"]).plans
    with pytest.raises(OutOfMemory, match=re.escape("out of memory on this machine while scoring, with run.batch = 8")):
        Trainer(plan, 0, tmp_path, device="cpu").run()


def test_a_real_allocation_that_is_too_large_is_recognised():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert ran_out_of_memory(caught.value)
    assert not ran_out_of_memory(RuntimeError("shape mismatch"))


def test_other_errors_pass_unchanged_and_a_gpu_is_called_one(tiny_plan):
    with pytest.raises(PartFailed, match="other"), naming_memory(tiny_plan(), torch.device("cpu")):
        raise PartFailed("other")
    if not torch.cuda.is_available():
        gpu = torch.device("cuda")
        with (
            pytest.MonkeyPatch.context() as patch,
            pytest.raises(OutOfMemory, match="on the GPU.*other programs on it"),
        ):
            patch.setattr(torch.cuda, "empty_cache", lambda: None)
            with naming_memory(tiny_plan(), gpu):
                raise torch.OutOfMemoryError(ON_GPU)
