"""Rows as jobs of submitit's local executor, and what is said where there is no Slurm."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

import genprior
import genprior_slurm
from genprior_slurm import SlurmLauncher

TABLES: dict[str, Any] = {
    "run": {
        "steps": 600,
        "batch": 8,
        "checkpoint_every": 100_000,
        "log_every": 200,
        "hooks": {"pictures": {"enabled": False}},
        "sample_every": 100_000,
    },
    "data": {"name": "digits", "size": 8},
    "optimiser": {"default": {"name": "adam", "lr": 1e-3}},
    "model": {
        "name": "aae",
        "code_size": 4,
        "prior": {"name": "gaussian"},
        "encoder": {"name": "mlp", "hidden": [16]},
        "decoder": {"name": "mlp", "hidden": [16]},
        "code_critic": {"name": "code_mlp", "hidden": [16]},
        "reconstruction": {"name": "pixel"},
        "code_game": {"name": "nonsaturating"},
    },
}


def recipe(**run: Any) -> genprior.Recipe:
    return genprior.make_recipe({**TABLES, "run": {**TABLES["run"], **run}}, name="tiny")


def launcher(**settings: Any) -> SlurmLauncher:
    return SlurmLauncher(SlurmLauncher.Settings(**settings))


class Interfering(genprior.Reporter):
    """Sends a signal to the process of the task at its first progress, as Slurm does."""

    def __init__(self, folder: Path, number: signal.Signals) -> None:
        self.folder, self.number, self.sent = folder, number, False
        self.ends: list[str] = []

    def progress(self, job: Any, step: int, rate: float) -> None:
        if not self.sent:
            self.sent = True
            (told,) = self.folder.glob(".tasks/*/*/messages.jsonl")
            os.kill(json.loads(told.read_text().split("\n")[1])["process"], self.number)

    def finished(self, job: Any, scores: dict[str, float]) -> None:
        self.ends.append(f"finished {job.plan.label}")


def same(first: Path, second: Path) -> bool:
    one, two = (load_file(sorted(each.glob("checkpoints/*.safetensors"))[-1]) for each in (first, second))
    return one.keys() == two.keys() and all((one[key] == two[key]).all() for key in one)


@pytest.fixture(scope="module")
def submitit() -> Any:
    return pytest.importorskip("submitit", reason="submitit is not installed: pip install submitit")


@pytest.mark.usefixtures("submitit")
def test_a_preempted_row_writes_a_checkpoint_is_queued_again_and_resumes(tmp_path: Path) -> None:
    reporter = Interfering(tmp_path / "there", signal.SIGUSR2)
    rows = recipe()
    with pytest.warns(genprior.GenpriorWarning, match="row 'base': its task was lost, and resumes on"):
        genprior.train(rows, out=tmp_path / "there", on=launcher(cluster="local"), device="cpu", reporter=reporter)
    assert reporter.ends == ["finished base"]
    assert not (tmp_path / "there" / ".tasks").exists()
    run = tmp_path / "there" / "base" / "seed-0"
    assert len(list(run.glob("checkpoints/*.safetensors"))) == 2  # of the preemption, and the last one
    genprior.train(rows, out=tmp_path / "here", progress=False)
    assert same(run, tmp_path / "here" / "base" / "seed-0")


@pytest.mark.usefixtures("submitit")
def test_a_killed_job_fails_its_row_and_its_log_stays(tmp_path: Path) -> None:
    reporter = Interfering(tmp_path, signal.SIGKILL)
    with pytest.raises(genprior.LaunchError, match=r"row 'base': its task ended as [A-Z]+ \(job \d+\); give") as caught:
        genprior.train(
            recipe(steps=50_000), out=tmp_path, on=launcher(cluster="local"), device="cpu", reporter=reporter
        )
    (log,) = Path(str(caught.value).rsplit(" ", 1)[1]).glob("log/*_log.err")
    assert log.is_file()


def test_without_submitit_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(genprior_slurm.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(genprior.LaunchError, match="package submitit, which is not installed: pip install submitit"):
        launcher().open("auto")


@pytest.mark.usefixtures("submitit")
def test_without_slurm_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(genprior.LaunchError, match="there is no command sbatch on this machine. Give the command on a"):
        genprior.train(recipe(), out=tmp_path / "runs", on=launcher(), progress=False)
    assert not (tmp_path / "runs").exists()
    with pytest.raises(genprior.LaunchError, match="--device cuda, but launcher 'slurm' requests gpus = 0"):
        genprior.train(recipe(), out=tmp_path / "runs", on=launcher(), device="cuda", progress=False)


@pytest.fixture
def slurm(submitit: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Commands of Slurm that say what they were given; sbatch refuses every job."""
    folder = tmp_path / "bin"
    folder.mkdir()
    texts = {
        "sinfo": "echo cpu; echo gpu",
        "srun": "true",
        "sacct": "true",
        "scancel": "true",
        "sbatch": f'cat "$1" > {tmp_path}/submitted; echo "sbatch: error: Invalid account" >&2; exit 1',
    }
    for name, text in texts.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def test_a_slurm_without_the_partition_or_without_an_answer_is_refused(
    slurm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(genprior.LaunchError, match=r"there is no partition 'gpus'\. Possible: cpu, gpu"):
        genprior.train(recipe(), out=tmp_path / "runs", on=launcher(partition="gpus"), progress=False)
    says = "echo 'slurm_load_partitions: Unable to contact slurm controller' >&2"
    (slurm / "sinfo").write_text(f"#!/bin/sh\n{says}; exit 1\n")
    with pytest.raises(genprior.LaunchError, match="does not answer .sinfo: slurm_load_partitions: Unable to contact"):
        genprior.train(recipe(), out=tmp_path / "runs", on=launcher(), progress=False)
    (slurm / "sinfo").write_text("#!/bin/sh\nexec sleep 30\n")
    monkeypatch.setattr(genprior_slurm, "ANSWER", 0.5)
    with pytest.raises(genprior.LaunchError, match=r"Slurm did not answer in 0\.5 seconds"):
        genprior.train(recipe(), out=tmp_path / "runs", on=launcher(), progress=False)
    assert not (tmp_path / "runs").exists()


@pytest.mark.usefixtures("slurm")
def test_what_slurm_is_asked_for_and_its_refusal(tmp_path: Path) -> None:
    settings = {"partition": "gpu", "gpus": 1, "cpus": 4, "minutes": 600, "memory": 16, "account": "vision"}
    with pytest.raises(genprior.LaunchError, match="the job of 'base' was refused: .*Invalid account"):
        genprior.train(recipe(), out=tmp_path / "runs", on=launcher(**settings, options={"nice": 100}), progress=False)
    assert not (tmp_path / "runs").exists()
    lines = (tmp_path / "submitted").read_text().splitlines()
    for line in (
        "--partition=gpu", "--gpus-per-node=1", "--cpus-per-task=4", "--time=600", "--mem=16GB", "--account=vision",
        "--nice=100", "--signal=USR2@120",
    ):  # fmt: skip
        assert f"#SBATCH {line}" in lines
