"""The kit for a sitting on a machine with a GPU: lossless images, limits of jobs, what is brought back, a rehearsal."""

from __future__ import annotations

import json
import random
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from packaging.requirements import Requirement
from packaging.tags import cpython_tags
from packaging.utils import canonicalize_name, parse_wheel_filename
from safetensors.numpy import load_file, save_file

import genprior
from genprior.storage import checkpoint

GPU = Path(__file__).parents[2] / "benchmarks" / "gpu"
ROOT = GPU.parents[1]


def script(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(GPU / name), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("n", [1, 255, 300])
def test_images_expand_to_the_file_that_was_squeezed(n: int, tmp_path: Path) -> None:
    images = np.random.default_rng(n).integers(0, 256, (n, 3, 8, 6), dtype=np.uint8)
    save_file({"images": images, "labels": np.arange(n)}, tmp_path / "set.safetensors", metadata={"classes": "[1]"})
    assert script("images.py", "squeeze", tmp_path / "set.safetensors", tmp_path / "small").returncode == 0
    assert script("images.py", "expand", tmp_path / "small", tmp_path / "back.safetensors").returncode == 0
    assert (tmp_path / "back.safetensors").read_bytes() == (tmp_path / "set.safetensors").read_bytes()
    assert (load_file(tmp_path / "back.safetensors")["images"] == images).all()


def test_smooth_images_become_smaller(tmp_path: Path) -> None:
    ramp = np.add.outer(np.arange(32), np.arange(32)).astype(np.uint8)
    save_file({"images": np.broadcast_to(ramp, (256, 3, 32, 32)).copy()}, tmp_path / "set.safetensors")
    assert script("images.py", "squeeze", tmp_path / "set.safetensors", tmp_path / "small").returncode == 0
    assert (tmp_path / "small").stat().st_size < (tmp_path / "set.safetensors").stat().st_size / 20


def test_grey_images_are_refused(tmp_path: Path) -> None:
    save_file({"images": np.zeros((2, 1, 8, 8), np.uint8)}, tmp_path / "grey.safetensors")
    done = script("images.py", "squeeze", tmp_path / "grey.safetensors", tmp_path / "small")
    assert done.returncode == 2
    assert "has no tensor 'images' of bytes [n, 3, h, w] (it is U8 [2, 1, 8, 8])" in done.stderr
    assert not (tmp_path / "small").exists()


def test_a_job_at_its_limit_fails_and_the_next_one_runs(tmp_path: Path) -> None:
    jobs = [
        {"name": "endless", "limit": 0.5, "command": ["{python}", "-c", "import time; time.sleep(60)"]},
        {"name": "next", "limit": 30, "command": ["{python}", "-c", "print('fine')"]},
    ]
    (tmp_path / "jobs.json").write_text(json.dumps(jobs))
    arguments = ("run.py", tmp_path / "jobs.json", tmp_path / "state.json", "--grace", 1)
    done = script(*arguments)
    assert done.returncode == 1
    assert "endless: failed, at its limit of 0.5 s after" in done.stdout
    assert json.loads((tmp_path / "state.json").read_text())["next"]["status"] == "done"
    assert script(*arguments).stdout == ""  # neither runs again


def test_the_jobs_of_a_sitting_are_of_rows_of_table_3_at_full_size() -> None:
    jobs = json.loads((GPU / "sitting.json").read_text())
    assert [job["name"] for job in jobs][:6] == ["doctor", "gpu-tests", "graph", "together", "speed", "compiled"]
    rows: list[str] = []
    for job in jobs:
        assert "limit" in job or job["name"].startswith("table3-")
        if "train" in job["command"]:
            here = [job["command"][i + 1] for i, word in enumerate(job["command"]) if word == "--rows"]
            settings = [job["command"][i + 1] for i, word in enumerate(job["command"]) if word == "--set"]
            recipe = genprior.load_recipe(ROOT / job["command"][4], rows=here, settings=settings)
            assert {plan.run.steps for plan in recipe.plans} == {781 * 100}
            rows += here
    assert sorted(rows) == sorted(["AAE", "A", "B", "C", "A+B", "A+C", "B+C", "A+B+C"])


def test_only_missing_packages_are_installed(tmp_path: Path) -> None:
    for name in ("genprior-0.1.0", "torch_fidelity-0.4.0", "no_such_thing-1.0"):
        (tmp_path / f"{name}-py3-none-any.whl").touch()
    code = f"import sit, pathlib; print([p.name for p in sit.missing_wheels(pathlib.Path({str(tmp_path)!r}))])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=GPU, check=True)
    assert done.stdout.strip() == "['genprior-0.1.0-py3-none-any.whl', 'no_such_thing-1.0-py3-none-any.whl']"


def test_every_dependency_is_carried_or_there_or_left_out_by_name() -> None:
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    needed = {canonicalize_name(Requirement(each).name) for each in dependencies}
    code = "import json, kit; print(json.dumps([kit.PACKAGES, kit.OF_THE_MACHINE, kit.LEFT_OUT]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=GPU, check=True)
    carried, there, left_out = map(set, json.loads(done.stdout))
    assert needed - carried - there == left_out and not carried & (there | left_out)
    method = (GPU / "METHOD.md").read_text().lower()
    assert [name for name in there | left_out if name not in method] == []


def test_no_job_writes_a_report() -> None:
    """Plotly, which draws them, is left out."""
    code = "import json, sit, pathlib; print(json.dumps(sit.environment(pathlib.Path('work'))))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=GPU, check=True)
    assert json.loads(done.stdout) == {
        "PYTHONPATH": str(Path("work", "site")), "GENPRIOR_DATA": str(Path("work", "data")), "GENPRIOR_REPORT": "off"
    }  # fmt: skip


def test_the_tests_that_need_a_gpu_are_found_by_their_marker(tmp_path: Path) -> None:
    code = f"import sit, pathlib; print(sit.words(['-m', '{{gpu_tests}}'], pathlib.Path({str(ROOT)!r}), {{}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=GPU, check=True)
    assert "tests/data/test_data_batches.py" in done.stdout


def run_with_checkpoint(folder: Path, finished: bool, step: int) -> None:
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"finished": finished}))
    (folder / "metrics.jsonl").write_text("{}\n")
    big = torch.randn(250_000)
    names = ("model/decoder.w", "average/decoder.w", "optimiser/decoder/w/exp_avg", "optimiser/decoder/w/exp_avg_sq")
    checkpoint.write(folder / "checkpoints", step, {name: big.clone() for name in names}, {"seconds": 1.0})


@pytest.mark.parametrize(
    ("megabytes", "whole", "without_moments", "averaged"),
    [
        (20, ["b"], ["a", "c"], []),
        (7.3, ["b"], ["a"], ["c"]),
        (5, ["b"], [], []),
        (3, [], ["a"], []),
        (0.5, [], [], []),
    ],
)
def test_checkpoints_are_brought_back_as_far_as_they_fit(
    megabytes: float, whole: list[str], without_moments: list[str], averaged: list[str], tmp_path: Path
) -> None:
    for name, finished in (("a", True), ("b", False), ("c", True)):
        run_with_checkpoint(tmp_path / "runs" / name, finished, 7)
    bring = runpy.run_path(str(GPU / "bring.py"))["main"]
    assert bring([str(tmp_path / "runs"), str(tmp_path / "stage"), "--megabytes", str(megabytes)]) == 0
    stage = tmp_path / "stage" / "runs"
    assert [each.name for each in sorted(stage.iterdir()) if (each / "metrics.jsonl").exists()] == ["a", "b", "c"]
    came = {p.parent: checkpoint.latest(p.parent / "checkpoints") for p in stage.rglob("run.json")}
    tensors = {folder.name: len(checkpoint.read(path).tensors) for folder, path in came.items() if path is not None}
    assert tensors == dict.fromkeys(whole, 4) | dict.fromkeys(without_moments, 2)
    assert [p.parent.parent.name for p in stage.rglob("weights/*.safetensors")] == averaged
    left_out = (tmp_path / "stage" / "left_out.txt").read_text()
    assert all(f"{name}: " in left_out for name in "abc" if name not in whole)


@pytest.mark.slow
def test_a_sitting_from_the_packed_pieces_to_the_results_and_the_next_one(tmp_path: Path) -> None:
    """The rehearsal: a kit with a small set and the own wheel, opened in an empty folder, on the CPU."""
    (tmp_path / "data").mkdir()
    (tmp_path / "wheels").mkdir()
    images = np.frombuffer(random.Random(0).randbytes(40 * 3072), np.uint8).reshape(40, 3, 32, 32)
    save_file({"images": images.copy(), "labels": np.arange(40)}, tmp_path / "data" / "small.safetensors")
    kit = tmp_path / "kit"
    given = ("--data", tmp_path / "data", "--wheels", tmp_path / "wheels", "--sets", "small")
    done = script("kit.py", kit, *given)
    assert done.returncode == 0, done.stderr
    assert (kit / "piece-0000").stat().st_size < 10e6
    jobs = [
        {"name": "version", "limit": 60, "quick": ["{python}", "-m", "genprior", "--version"]},
        {"name": "later", "quick": ["{python}", "-c", "import time; time.sleep(60)"]},
    ]
    (kit / "sitting.json").write_text(json.dumps(jobs))
    there = [sys.executable, str(kit / "sit.py"), "work", "out", "--device", "cpu", "--quick", "--minutes"]
    first = subprocess.run([*there, "1"], capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert first.returncode == 3, first.stderr
    assert (tmp_path / "work" / "data" / "small.safetensors").read_bytes() == (
        tmp_path / "data" / "small.safetensors"
    ).read_bytes()
    assert "version: done" in first.stdout
    assert len(list((tmp_path / "out").iterdir())) <= 8
    (tmp_path / "work").rename(tmp_path / "lost")
    jobs[1]["quick"] = ["{python}", "-c", "print('fine')"]
    (kit / "sitting.json").write_text(json.dumps(jobs))
    again = subprocess.run([*there, "1", "--back", "out"], capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert again.returncode == 0, again.stderr
    assert "version:" not in again.stdout and "later: done" in again.stdout
    (kit / "piece-0000").write_bytes(b"short")
    (tmp_path / "work").rename(tmp_path / "lost again")
    refused = subprocess.run([*there, "1"], capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert refused.returncode == 2
    assert "piece-0000: 5 bytes in place of" in refused.stderr
    assert not (tmp_path / "work").exists()


@pytest.mark.slow
def test_grey_sets_travel_as_they_are_and_the_jobs_of_mnist_run_at_once(tmp_path: Path) -> None:
    for folder in ("data", "wheels"):
        (tmp_path / folder).mkdir()
    save_file(
        {"images": np.zeros((5, 1, 8, 8), np.uint8), "labels": np.arange(5)}, tmp_path / "data" / "grey.safetensors"
    )
    kit = tmp_path / "kit"
    done = script("kit.py", kit, "--data", tmp_path / "data", "--wheels", tmp_path / "wheels", "--sets", "grey")
    assert done.returncode == 0, done.stderr
    waits = (
        "import time; from pathlib import Path; Path({0!r}).touch()\nwhile not Path({1!r}).exists(): time.sleep(.02)"
    )
    jobs = [
        {"name": one, "quick": ["{python}", "-c", waits.format("../" + one, "../" + two)]} for one, two in ("ab", "ba")
    ]
    (kit / "mnist.json").write_text(json.dumps(jobs))
    there = [sys.executable, str(kit / "sit.py"), "work", "out", "--device", "cpu", "--quick", "--mnist"]
    done = subprocess.run(there, capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "a: done" in done.stdout and "b: done" in done.stdout
    here, came = (tmp_path / folder / "data" / "grey.safetensors" for folder in (".", "work"))
    assert came.read_bytes() == here.read_bytes()


def test_a_kit_without_its_data_is_refused(tmp_path: Path) -> None:
    done = script("kit.py", tmp_path / "kit", "--data", tmp_path)
    assert done.returncode == 2
    assert "cifar10-train.safetensors does not exist; run `genprior check" in done.stderr
    assert not (tmp_path / "kit").exists()


GLIBC_2_28 = [*(f"manylinux_2_{n}_x86_64" for n in range(28, 4, -1)), "manylinux2014_x86_64"]
"""Wheels of which platforms run there, by PEP 600."""


def test_the_wheels_are_asked_for_in_tags_of_python_3_12_on_x86_64() -> None:
    """The platforms of kit.py are among the tags that Python 3.12 on a Linux with glibc 2.28 accepts."""
    code = "import json, subprocess, kit\n"
    code += "subprocess.run = lambda command, **_: print(json.dumps(command))\nkit.wheels('x')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=GPU, check=True)
    command = json.loads(done.stdout)
    platforms = [command[i + 1] for i, word in enumerate(command) if word == "--platform"]
    assert platforms[-1] == "any" and len(platforms) > 1
    assert set(platforms[:-1]) <= {tag.platform for tag in cpython_tags((3, 12), platforms=GLIBC_2_28)}
    accepted = set(cpython_tags((3, 12), platforms=platforms))
    for name in (
        "pydantic_core-2.50.4-cp312-cp312-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
        "safetensors-0.8.0-cp310-abi3-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
    ):
        assert parse_wheel_filename(name)[3] & accepted
