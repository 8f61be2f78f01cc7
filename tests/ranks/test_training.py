"""`train` in processes that share each batch: what they train, what they refuse, and what is left when one dies."""

from __future__ import annotations

import json
import os
import signal
import time

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

# The plain autoencoder draws nothing in a step, so that processes and one process compute the same numbers.
PLAIN = """
title = "plain"
[run]
steps = 4
batch = {batch}
checkpoint_every = 2
log_every = 2
precision = "fp32"
{more}
[run.hooks.pictures]
enabled = false
[data]
name = "digits"
size = 8
[optimiser.default]
name = "sgd"
lr = 0.3
[model]
name = "autoencoder"
code_size = 3
encoder = {{ name = "mlp", hidden = [8]{norm} }}
decoder = {{ name = "mlp", hidden = [8]{norm} }}
reconstruction = {{ name = "pixel" }}
[change.narrow.model]
code_size = 2
[[row]]
label = "a"
changes = []
"""


def recipe(folder, batch=7, more="", norm=False):
    path = folder / "plain.toml"
    path.write_text(PLAIN.format(batch=batch, more=more, norm=", batch_norm = true" if norm else ""))
    return path


def long(folder):
    """A recipe that is stopped before its end."""
    path = recipe(folder)
    text = path.read_text().replace("steps = 4", "steps = 100000")
    path.write_text(text.replace("checkpoint_every = 2", "checkpoint_every = 20"))
    return path


def first_checkpoint(ranks, run):
    """The folder of checkpoints, as soon as it has one."""
    until = time.monotonic() + 60
    while not list(run.glob("checkpoints/*.json")):
        assert all(each.is_alive() for each in ranks.processes) and time.monotonic() < until, ranks.text
        time.sleep(0.05)
    return run / "checkpoints"


def trained(run):
    """The last checkpoint's tensors, and the records without their times."""
    newest = max(run.glob("checkpoints/*.safetensors"))
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return load_file(newest), [{k: v for k, v in line.items() if k != "seconds"} for line in lines]


def assert_same(found, expected):
    assert found[0].keys() == expected[0].keys()
    for name, tensor in expected[0].items():
        torch.testing.assert_close(found[0][name], tensor, rtol=1e-4, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")
    assert len(found[1]) == len(expected[1]) > 0
    for line, other in zip(found[1], expected[1], strict=True):
        assert line == pytest.approx(other, rel=1e-4)


@pytest.mark.parametrize("norm", [False, True])
def test_two_and_three_processes_train_what_one_trains(genprior_ranks, tmp_path, norm):
    """A batch of 7, so that slices are not equal: weights, batch statistics, losses and gradient norms."""
    path = recipe(tmp_path, more="sync_batch_norm = true" if norm else "", norm=norm)
    for world in (1, 2, 3):
        first, *others = genprior_ranks(world, "train", path, "--out", tmp_path / str(world))
        assert first.code == 0, first.text
        assert "a: finished" in first.text
        # What one process would take is not the time of several.
        assert ("training takes about" in first.text) == (world == 1)
        assert others == [(0, "")] * (world - 1)
    expected = trained(tmp_path / "1/a/seed-0")
    for world in (2, 3):
        assert_same(trained(tmp_path / f"{world}/a/seed-0"), expected)
        facts = json.loads((tmp_path / f"{world}/a/seed-0/run.json").read_text())
        statistics = "of the whole batch" if norm else "of the slice of each process"
        assert (facts["ranks"], facts["batch_statistics"]) == (world, statistics)
    assert "ranks" not in json.loads((tmp_path / "1/a/seed-0/run.json").read_text())


def test_a_run_is_resumed_by_another_number_of_processes(genprior_ranks, tmp_path):
    path = recipe(tmp_path)
    for world, out in ((1, "whole"), (2, "parts"), (3, "parts"), (1, "parts")):
        steps = {(1, "whole"): 8, (2, "parts"): 4, (3, "parts"): 6, (1, "parts"): 8}[world, out]
        first, *_ = genprior_ranks(world, "train", path, "--out", tmp_path / out, "--steps", steps)
        assert first.code == 0, first.text
    assert_same(trained(tmp_path / "parts/a/seed-0"), trained(tmp_path / "whole/a/seed-0"))
    # A finished run is left as it is by any number.
    first, other = genprior_ranks(2, "train", path, "--out", tmp_path / "parts", "--steps", 8)
    assert (first.code, other) == (0, (0, ""))


def test_more_processes_than_images_in_a_batch_are_refused_once(genprior_ranks, tmp_path):
    first, *others = genprior_ranks(3, "train", recipe(tmp_path, batch=2), "--out", tmp_path / "out")
    assert first.code == 2
    assert (
        "run.batch = 2 cannot be shared by 3 processes, each of which needs at least one; choose a batch of at least "
        "3, or start at most 2 with torchrun" in first.text
    )
    assert others == [(2, "")] * 2
    assert not (tmp_path / "out").exists()


def test_rows_side_by_side_are_refused(genprior_ranks, tmp_path):
    path = recipe(tmp_path)
    path.write_text(path.read_text() + '[[row]]\nlabel = "b"\nchanges = ["narrow"]\n')
    first, other = genprior_ranks(2, "train", path, "--out", tmp_path / "out", "--jobs", 2)
    assert first.code == 2
    assert (
        "--jobs 2 trains 2 rows at once, but torchrun started 2 processes that train one row together. Leave --jobs "
        "out, or start without torchrun" in first.text
    )
    assert other == (2, "")


def test_auto_is_one_row_at_a_time(genprior_ranks, tmp_path):
    path = recipe(tmp_path)
    path.write_text(path.read_text() + '[[row]]\nlabel = "b"\nchanges = ["narrow"]\n')
    first, other = genprior_ranks(2, "train", path, "--out", tmp_path / "out", "--jobs", "auto")
    assert first.code == 0, first.text
    assert "a: finished" in first.text and "b: finished" in first.text
    assert other == (0, "")


@pytest.mark.parametrize(("lost", "by"), [(0, signal.SIGKILL), (1, signal.SIGKILL), (1, signal.SIGSTOP)])
def test_a_process_that_is_lost_ends_the_others_with_an_error_and_the_run_resumes(
    start, genprior_ranks, tmp_path, lost, by
):
    """It dies, or it does not answer within the time limit."""
    command = ["train", str(long(tmp_path)), "--out", str(tmp_path / "out")]
    ranks = start(2, "command", command, GENPRIOR_RANKS_TIMEOUT="20" if by is signal.SIGKILL else "3")
    checkpoints = first_checkpoint(ranks, tmp_path / "out/a/seed-0")
    os.kill(ranks.processes[lost].pid, by)
    ranks.processes[1 - lost].join(30)
    ranks.processes[lost].kill()
    survivor = ranks.ended()[1 - lost]
    assert survivor.code == 1, survivor.text
    assert (
        "another process of this training ended, or did not answer in time. The same command resumes from the last "
        "checkpoint, with any number of processes" in survivor.text
    )
    assert "Traceback" not in survivor.text
    step = max(int(json.loads(each.read_text())["step"]) for each in checkpoints.glob("*.json"))
    # One process goes on from there.
    (one,) = genprior_ranks(1, *command, "--steps", step + 2)
    assert one.code == 0, one.text
    assert json.loads((tmp_path / "out/a/seed-0/run.json").read_text())["step"] == step + 2


@pytest.mark.parametrize("told", [0, 1])
def test_ctrl_c_in_any_process_writes_a_checkpoint_and_stops_all(start, genprior_ranks, tmp_path, told):
    command = ["train", str(long(tmp_path)), "--out", str(tmp_path / "out")]
    ranks = start(2, "command", command)
    checkpoints = first_checkpoint(ranks, tmp_path / "out/a/seed-0")
    os.kill(ranks.processes[told].pid, signal.SIGINT)
    first, other = ranks.ended()
    assert first.code == 130, first.text
    assert "stopped: 0 of 1 runs are finished; the same command resumes the others." in first.text
    assert other == (130, "")
    step = max(int(json.loads(each.read_text())["step"]) for each in checkpoints.glob("*.json"))
    (one,) = genprior_ranks(1, *command, "--steps", step + 2)
    assert one.code == 0, one.text
    facts = json.loads((tmp_path / "out/a/seed-0/run.json").read_text())
    assert (facts["step"], facts["finished"]) == (step + 2, True)


@pytest.mark.slow
def test_two_processes_fit_the_prior_that_one_fits(genprior_ranks, tmp_path):
    """The codes are encoded by each process, and each step of the fit takes a slice of 7 of them."""
    pytest.importorskip("zuko")
    path = recipe(tmp_path, more="[run.fit]\nsteps = 4\nbatch = 7")
    flow = 'fitted_prior = { name = "flow", kind = "realnvp", transforms = 2, hidden = [8] }'
    path.write_text(path.read_text().replace("code_size = 2", flow).replace("changes = []", 'changes = ["narrow"]'))
    for world in (1, 2):
        first, *others = genprior_ranks(world, "train", path, "--out", tmp_path / str(world))
        assert first.code == 0, first.text
        assert "first stage: finished" in first.text and "a: finished" in first.text
        assert others == [(0, "")] * (world - 1)
    expected = trained(tmp_path / "1/a/seed-0")
    assert any("fitted_prior" in name for name in expected[0])
    assert_same(trained(tmp_path / "2/a/seed-0"), expected)
    assert json.loads((tmp_path / "2/a/seed-0/run.json").read_text())["ranks"] == 2


def test_streamed_images_are_shared_as_those_in_memory(genprior_ranks, tmp_path):
    """Two processes read their slices of a folder ahead, and train what they train on the decoded folder."""
    for place in range(20):
        file = tmp_path / "pictures" / f"{place}.png"
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(np.random.RandomState(place).randint(0, 256, (8, 8), dtype=np.uint8)).save(file)
    path = recipe(tmp_path)
    data = f'data={{name="folder", path="{(tmp_path / "pictures").as_posix()}", size=8, channels=1'
    for name, more in (("memory", ""), ("stream", ", stream=true, workers=1")):
        first, other = genprior_ranks(2, "train", path, "--out", tmp_path / name, "--set", data + more + "}")
        assert first.code == 0, first.text
        assert other == (0, "")
    (memory, records), (stream, again) = (trained(tmp_path / name / "a/seed-0") for name in ("memory", "stream"))
    assert records == again and [key for key in memory if not torch.equal(memory[key], stream[key])] == []
