"""Worker processes that share a GPU by an MPS daemon: with a program that stands for NVIDIA's, and on a GPU itself."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import genprior
from genprior.errors import RecipeError
from genprior.launch import mps, side_by_side
from genprior.launch import train as launch_train
from genprior.launch.mps import sharing
from genprior.launch.pace import Pace, estimate
from genprior.launch.side_by_side import Load
from genprior.runs import environment

pytestmark = [
    pytest.mark.usefixtures("no_curves"),
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="reads processes in /proc"),
]

CONTROL = """#!/bin/sh
# Stands for nvidia-cuda-mps-control: a daemon that sleeps, a pid file, and the commands on standard input.
pid="$CUDA_MPS_PIPE_DIRECTORY/nvidia-cuda-mps-control.pid"
if [ "$1" = "-d" ]; then
    echo "-d $CUDA_MPS_PIPE_DIRECTORY $CUDA_MPS_LOG_DIRECTORY $CUDA_VISIBLE_DEVICES" >> "$FAKE_CALLS"
    case "$FAKE_MODE" in
        hangs) sleep 1000 ;;
        fails) echo "An instance of this daemon is already running" >&2; exit 1 ;;
        silent) exit 3 ;;
    esac
    sleep 1000 &
    echo $! > "$pid"
    exit 0
fi
read command
echo "$command" >> "$FAKE_CALLS"
case "$command" in
    get_server_list) [ "$FAKE_MODE" = unused ] || echo 4711 ;;
    quit) [ "$FAKE_MODE" = stays ] || { kill "$(cat "$pid")"; rm "$pid"; } ;;
esac
"""


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """The file of what the program was told; the program is on the PATH, and CUDA seems to use it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / environment.MPS_CONTROL).write_text(CONTROL)
    (folder / environment.MPS_CONTROL).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_CALLS", str(tmp_path / "calls"))
    monkeypatch.setattr(mps, "PROBE", "print(False)")
    return tmp_path / "calls"


@pytest.fixture
def pretend(monkeypatch, tmp_path):
    """A GPU that is none, and no daemon of anybody else's."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv(environment.MPS_PIPES, raising=False)
    monkeypatch.delenv(mps.SWITCH, raising=False)
    monkeypatch.setattr(environment, "_MPS_FOLDER", str(tmp_path / "nobody"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(mps, "choose_device", lambda requested: torch.device("cuda"))


def told(calls: Path) -> list[str]:
    return calls.read_text().splitlines() if calls.exists() else []


def pid_of(folder: Path) -> int:
    return int((folder / "nvidia-cuda-mps-control.pid").read_text())


def alive(number: int) -> bool:
    try:
        return (Path("/proc") / str(number) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(true, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


# ---------------------------------------------------------------------------------------------------------------------
# Starting and stopping
# ---------------------------------------------------------------------------------------------------------------------


def test_a_daemon_runs_inside_the_block_in_a_folder_of_its_own(pretend, calls):
    with sharing("cuda", 3) as shared:
        folder = Path(shared.variables[environment.MPS_PIPES])
        assert shared.variables == {
            "CUDA_MPS_PIPE_DIRECTORY": str(folder),
            "CUDA_MPS_LOG_DIRECTORY": str(folder / "logs"),
        }
        assert (folder.parent, stat.S_IMODE(folder.stat().st_mode)) == (Path("/tmp"), 0o700)
        assert len(bytes(folder / "control_privileged")) < 108  # a socket's path
        daemon = pid_of(folder)
        assert alive(daemon)
        assert shared.line(3, fewer=False) == f"3 processes share the GPU by MPS, a daemon of its own in {folder}"
        assert not shared.takes_turns and shared.device == "cuda"
        assert environment.MPS_PIPES not in os.environ
    assert told(calls) == [f"-d {folder} {folder}/logs ", "get_server_list", "quit"]
    assert not alive(daemon) and not folder.exists()


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_it_ends_after_an_error_too(error, pretend, calls):
    with pytest.raises(error), sharing("cuda", 2) as shared:
        folder = Path(shared.variables[environment.MPS_PIPES])
        daemon = pid_of(folder)
        raise error
    assert not alive(daemon) and not folder.exists()


def test_one_that_does_not_quit_is_killed(pretend, calls, monkeypatch):
    monkeypatch.setenv("FAKE_MODE", "stays")
    with sharing("cuda", 2) as shared:
        folder = Path(shared.variables[environment.MPS_PIPES])
        daemon = pid_of(folder)
    assert not alive(daemon) and not folder.exists()
    assert told(calls)[-1] == "quit"


@pytest.mark.parametrize(
    ("mode", "probe", "reason"),
    [
        ("fails", "", "An instance of this daemon is already running"),
        ("silent", "", "nvidia-cuda-mps-control -d ended with exit code 3"),
        ("hangs", "", "it did not start within 0.5 seconds"),
        ("", "import time; time.sleep(1000)", "it did not start within 0.5 seconds"),
        ("", "import sys; sys.exit('CUDA_ERROR_MPS_SERVER_NOT_READY')", "it did not start within 0.5 seconds"),
        ("", "import sys; sys.exit('CUDA_ERROR_OUT_OF_MEMORY')", "CUDA cannot use it: CUDA_ERROR_OUT_OF_MEMORY"),
        ("unused", "print(False)", "it started, but CUDA does not use it"),
    ],
)
def test_a_daemon_that_does_not_start_leaves_nothing(mode, probe, reason, pretend, calls, monkeypatch):
    monkeypatch.setattr(mps, "STARTS_WITHIN", 0.5)
    monkeypatch.setattr(mps, "PROBE", probe)
    monkeypatch.setenv("FAKE_MODE", mode)
    with sharing("cuda", 2) as shared:
        assert shared.takes_turns and not shared.variables and shared.lifeline is None
        assert shared.line(2, fewer=False) == (
            f"2 processes take turns on the GPU, which is no faster than one, because MPS cannot be started: {reason}"
        )
        folder = Path(told(calls)[0].split()[1])
    assert not folder.exists()
    assert told(calls)[-1] == ("quit" if mode in ("", "unused") else told(calls)[0])


def test_a_daemon_that_cuda_says_it_uses_need_not_list_its_server(pretend, calls, monkeypatch):
    monkeypatch.setattr(mps, "PROBE", "print(True)")
    monkeypatch.setenv("FAKE_MODE", "unused")
    with sharing("cuda", 2) as shared:
        assert not shared.takes_turns


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_the_probe_tells_what_cuda_says():
    done = subprocess.run([sys.executable, "-I", "-S", "-c", mps.PROBE], capture_output=True, text=True)
    assert done.returncode == 1
    assert "libcuda" in done.stderr or done.stderr.startswith("CUDA_ERROR_")


def test_without_the_program_without_a_folder_and_without_a_wish_processes_take_turns(pretend, calls, monkeypatch):
    def line() -> str | None:
        with sharing("cuda", 4) as shared:
            assert shared.takes_turns
            return shared.line(4, fewer=True)

    said = "one row is trained at a time: processes take turns on the GPU, because "
    monkeypatch.setattr(mps.tempfile, "mkdtemp", lambda **where: open(f"{where['dir']}/none/none"))
    assert line().startswith(f"{said}MPS cannot be started: [Errno 2] No such file")
    monkeypatch.setenv(mps.SWITCH, "OFF")
    assert line() == f"{said}GENPRIOR_MPS=off"
    monkeypatch.delenv(mps.SWITCH)
    monkeypatch.setenv("PATH", "/nowhere")
    assert line() == f"{said}nvidia-cuda-mps-control is not on the PATH"
    assert told(calls) == []


def test_a_daemon_of_the_user_is_used_as_it_is(pretend, calls, monkeypatch, tmp_path):
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    monkeypatch.setenv(environment.MPS_PIPES, str(theirs))
    with sharing("cuda", 2) as shared:
        assert shared.takes_turns
        assert shared.described == f"CUDA_MPS_PIPE_DIRECTORY={theirs} names a folder without an MPS daemon"
    (theirs / "nvidia-cuda-mps-control.pid").write_text("1")
    monkeypatch.setenv(mps.SWITCH, "off")  # genprior starts none, and this one runs
    with sharing("cuda", 2) as shared:
        assert not shared.takes_turns and not shared.variables
        assert shared.line(2, fewer=False) == f"2 processes share the GPU by MPS, through the daemon in {theirs}"
    monkeypatch.delenv(environment.MPS_PIPES)
    monkeypatch.setattr(environment, "_MPS_FOLDER", str(theirs))  # CUDA looks there without a variable
    with sharing("cuda", 2) as shared:
        assert not shared.takes_turns and not shared.variables
    assert told(calls) == []


def test_one_worker_and_a_cpu_need_no_daemon(pretend, calls, monkeypatch):
    with sharing("cuda", 1) as shared:
        assert (shared.takes_turns, shared.line(1, fewer=False)) == (False, None)
    monkeypatch.setattr(mps, "choose_device", torch.device)
    with sharing("cpu", 4) as shared:
        assert (shared.takes_turns, shared.device, shared.line(4, fewer=True)) == (False, "cpu", None)
    assert told(calls) == []


@pytest.mark.parametrize(
    ("visible", "count", "shown"),
    [
        (None, 2, "GPU-1234"),
        ("1", 1, "GPU-1234"),  # the daemon would number the GPU anew, and 1 would be none in a worker
        ("MIG-5678", 1, "MIG-5678"),
    ],
)
def test_daemon_and_workers_see_the_one_gpu_by_its_name(visible, count, shown, pretend, calls, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: type("Properties", (), {"uuid": "1234"}))
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with sharing("cuda:1", 2) as shared:
        pinned = shown.startswith("GPU-")
        assert shared.variables.get("CUDA_VISIBLE_DEVICES") == (shown if pinned else None)
        assert shared.device == ("cuda" if pinned else "cuda:1")
    assert told(calls)[0].endswith(f"/logs {shown}")


def test_a_wrong_switch_is_refused_before_anything_is_written(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv(mps.SWITCH, "0")
    with pytest.raises(RecipeError) as caught:
        genprior.train(genprior.load_recipe(tiny), out=tmp_path / "out", device="cpu")
    assert str(caught.value) == (
        "GENPRIOR_MPS = 0 is neither off nor auto; set GENPRIOR_MPS=off to start no MPS daemon for rows side by side "
        "on a GPU, or unset it"
    )
    assert not (tmp_path / "out").exists()


# ---------------------------------------------------------------------------------------------------------------------
# Trainings
# ---------------------------------------------------------------------------------------------------------------------


class Heard(genprior.Reporter):
    """Notes the line."""

    def __init__(self):
        self.lines = []

    def sharing(self, line):
        self.lines.append(line)


def workers_of(parent: int) -> list[int]:
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        try:
            fields = (each / "stat").read_text().rpartition(")")[2].split()
            if int(fields[1]) == parent and b"spawn_main" in (each / "cmdline").read_bytes():
                found.append(int(each.name))
        except OSError:
            continue
    return found


def test_run_json_says_that_a_gpu_was_shared(monkeypatch, tmp_path):
    monkeypatch.setenv(environment.MPS_PIPES, str(tmp_path))
    fp32 = environment.Precision(torch.float32, None)

    def fact(device: str) -> bool | None:
        return environment.surroundings(torch.device(device), fp32)["hardware"].get("mps")

    monkeypatch.setattr(environment, "device_name", lambda device: "a GPU")
    assert fact("cuda") is None  # no daemon runs there
    (tmp_path / "nvidia-cuda-mps-control.pid").write_text("1")
    assert (fact("cuda"), fact("cpu")) == (True, None)


@pytest.mark.parametrize(
    ("found", "expected", "workers"),
    [
        (True, "2 processes share the GPU by MPS, ", 2),
        (False, "one row is trained at a time: processes take turns on the GPU, because ", 1),
    ],
)
def test_auto_is_one_row_at_a_time_where_processes_take_turns(
    found, expected, workers, pretend, calls, tiny, tmp_path, monkeypatch
):
    recipe = genprior.load_recipe(tiny)
    if not found:
        monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(launch_train, "default_jobs", lambda device: 1)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (70 * 2**30, 80 * 2**30))
    monkeypatch.setattr(side_by_side, "cores", lambda: 16)
    cuda, load = torch.device("cuda"), Load(2**30, 0.1)
    paces = [Pace(plan, 1.0, cuda, "float32", None, load) for plan in recipe.plans]
    monkeypatch.setattr(launch_train, "preflight", lambda recipe, device, timed: paces)
    monkeypatch.setattr(launch_train, "estimate", lambda *figures, **more: None)  # it names the GPU
    used = []
    monkeypatch.setattr(launch_train, "in_processes", lambda stages, k, *rest, **more: used.append(k) or [])
    monkeypatch.setattr(launch_train, "_in_this_process", lambda *rest: used.append(1) or [])
    heard = Heard()
    launch_train.train(recipe, out=tmp_path / "out", jobs="auto", device="cuda", reporter=heard)
    assert used == [workers]
    assert len(heard.lines) == 1 and heard.lines[0].startswith(expected)


def test_rows_that_take_turns_are_expected_one_after_another(tiny, tmp_path):
    from genprior.runs.jobs import jobs_of

    recipe = genprior.load_recipe(tiny, settings=["run.steps=10"])
    jobs = jobs_of(recipe, tmp_path / "out")
    paces = [Pace(plan, 2.0, torch.device("cpu"), "float32", None) for plan in recipe.plans]
    together, turns = estimate(jobs, paces, 2), estimate(jobs, paces, 2, takes_turns=True)
    assert (together.seconds, turns.seconds, turns.side_by_side) == (20.0, 40.0, 2)


SCRIPT = """
import sys, torch, genprior
from genprior.launch import mps
if __name__ == "__main__":
    mps.PROBE = "print(True)"
    mps.choose_device = lambda requested: torch.device("cuda")
    from genprior.cli.app import main
    main()
"""


@pytest.mark.parametrize("name", [pytest.param("SIGTERM", marks=pytest.mark.slow), "SIGKILL"])
def test_the_daemon_ends_with_its_training_however_that_ends(name, pretend, calls, tiny, tmp_path):
    """Workers compute on the CPU here; only where the daemon is started, the device is taken for a GPU.

    SIGTERM stops with checkpoints. SIGKILL, as a second SIGTERM, leaves workers, which stop by themselves."""
    (tmp_path / "script.py").write_text(SCRIPT)
    settings = ["run.steps=100000", "run.checkpoint_every=100000", "run.log_every=20", 'run.precision="fp32"']
    settings += ["run.hooks.pictures.enabled=false"]
    command = [sys.executable, tmp_path / "script.py", "train", tiny, *(f"--set={each}" for each in settings)]
    process = subprocess.Popen(
        [*command, "--jobs=2", "--device=cpu", f"--out={tmp_path / 'out'}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        wait_until(lambda: len(list((tmp_path / "out").rglob("metrics.jsonl"))) == 2, 120)
        folder = Path(told(calls)[0].split()[1])
        daemon, workers = pid_of(folder), workers_of(process.pid)
        assert alive(daemon) and len(workers) == 2
        for each in workers:
            variables = (Path("/proc") / str(each) / "environ").read_bytes().decode().split("\0")
            assert f"CUDA_MPS_PIPE_DIRECTORY={folder}" in variables
            assert f"CUDA_MPS_LOG_DIRECTORY={folder}/logs" in variables
        process.send_signal(signal.Signals[name])
        said = process.communicate(timeout=60)[1]
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    wait_until(lambda: not alive(daemon) and not folder.exists())
    assert told(calls)[-1] == "quit"
    assert not any(map(alive, workers))  # the daemon is needed until the last worker has written its checkpoint
    assert {each.parent.parent.parent.name for each in (tmp_path / "out").rglob("step-*.json")} == {"AAE", "A+B+C"}
    assert f"2 processes share the GPU by MPS, a daemon of its own in {folder}" in said


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.skipif(shutil.which(environment.MPS_CONTROL) is None, reason=f"needs {environment.MPS_CONTROL}")
def test_rows_that_share_a_gpu_are_the_rows_alone(tiny, tmp_path, monkeypatch):
    """Weights are equal bit for bit, as kernels of matrix products are deterministic here; `run.json` tells of MPS."""
    for name in (environment.MPS_PIPES, mps.SWITCH):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    heard = Heard()
    recipe = genprior.load_recipe(
        tiny, settings=["run.hooks.pictures.enabled=false", "run.steps=30", "run.log_every=1"]
    )
    genprior.train(recipe, out=tmp_path / "two", jobs=2, device="cuda", reporter=heard)
    assert heard.lines[0].startswith("2 processes share the GPU by MPS, a daemon of its own in "), heard.lines
    genprior.train(recipe, out=tmp_path / "one", device="cuda")
    for label in ("AAE", "A+B+C"):
        folders = [tmp_path / name / label / "seed-0" for name in ("two", "one")]
        two, one = (load_file(sorted(each.glob("checkpoints/*.safetensors"))[-1]) for each in folders)
        assert all((two[key] == one[key]).all() for key in one)
        facts = [json.loads((each / "run.json").read_text())["hardware"] for each in folders]
        assert (facts[0]["mps"], "mps" in facts[1]) == (True, False)
