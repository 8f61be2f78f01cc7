"""`genprior doctor`: what an installation has, and what is wrong with it, whatever is broken."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from packaging.requirements import Requirement
from safetensors.torch import save_file

import genprior
from genprior.registry import Broken, Origin, Registry, installed
from genprior.runs import health, health_of_files
from genprior.runs.findings import Finding, State, findings_of, readable_size


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache folder, and a home without other caches."""
    monkeypatch.setenv("GENPRIOR_DATA", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(health_of_files, "LITTLE", 0)
    (tmp_path / "cache").mkdir()
    return tmp_path / "cache"


def wrong(check):
    """What a check finds wrong, by name."""
    return {each.name: each for each in check() if each.state is State.WRONG}


def test_an_installation_that_is_well(call, cache):
    result = call("doctor")
    assert result.exit_code == 0, result.output
    assert "all is well" in result.output
    shown = json.loads(call("doctor", "--json").stdout)
    assert shown["ok"] is True
    found = {(each["section"], each["name"]): each["text"] for each in shown["findings"]}
    assert found["versions", "torch"] == metadata.version("torch")
    assert found["versions", "genprior"].startswith(genprior.__version__)
    assert found["plugins", "std"].endswith(f"{len(installed().all())} parts")
    assert found["recipes", "recipes"].startswith(
        f"{len(list((Path(genprior.__file__).parents[1] / 'recipes').rglob('*.toml')))} in "
    )
    sections = list(dict.fromkeys(each["section"] for each in shown["findings"]))
    assert sections == "versions,devices,plugins,extras,caches,data sets,recipes,disk,terminal".split(",")


def test_something_wrong_is_shown_with_what_to_do_and_ends_with_1(call, cache):
    (cache / "mnist-train.safetensors").write_bytes(b"not whole")
    result = call("doctor")
    assert (result.exit_code, type(result.exception)) == (1, SystemExit)
    lines = [line.strip() for line in result.output.splitlines()]
    (place,) = [number for number, line in enumerate(lines) if line.startswith("mnist-train.safetensors")]
    assert f"wrong  {cache}/mnist-train.safetensors is damaged: " in lines[place]
    assert lines[place + 1] == "delete it, and it is made or downloaded again"
    assert lines[-1] == "1 thing is wrong"
    assert json.loads(call("doctor", "--json").stdout)["ok"] is False


def test_a_check_that_raises_is_a_finding_after_what_it_found():
    def broken():
        yield Finding("a", "x", "here")
        raise RuntimeError("torch is broken.\nBadly.")

    def fine():
        yield Finding("b", "y", "there")

    first, bad, last = findings_of({"a": broken, "b": fine})
    assert (first.name, last.name, bad.section, bad.state) == ("x", "y", "a", State.WRONG)
    assert bad.text == "this could not be examined: RuntimeError: torch is broken. Badly"


def test_an_installation_without_torch_is_told_so(cache, tmp_path):
    program = """
import sys
from genprior.cli.app import main
sys.modules["torch"] = None  # importing it raises ModuleNotFoundError
sys.argv[1:] = ["doctor", "--json"]
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (1, "")
    found = {each["section"]: each for each in json.loads(done.stdout)["findings"] if each["state"] == "wrong"}
    assert {"devices", "plugins"} <= found.keys()
    assert found["devices"]["text"].startswith("this could not be examined: ModuleNotFoundError: import of to")


# ---------------------------------------------------------------------------------------------------------------------
# Versions and extras
# ---------------------------------------------------------------------------------------------------------------------


def pretend(monkeypatch, **functions):
    """Let `genprior.runs.health` read other metadata of packages."""
    monkeypatch.setattr(health, "metadata", SimpleNamespace(**{**vars(metadata), **functions}))


def test_requirements_that_are_not_met(monkeypatch):
    lines = [
        "numpy>=9999",
        "nowhere-to-be-found>=1",
        "torch",
        'rich>=9999; extra == "flow"',
        'missing; extra == "more"',
    ]
    told = {"Provides-Extra": ["flow", "more"]}
    pretend(
        monkeypatch,
        requires=lambda name: lines if name == "genprior" else metadata.requires(name),
        metadata=lambda name: SimpleNamespace(get_all=told.get),
    )
    found = wrong(health.CHECKS["versions"])
    assert found.keys() == {"numpy", "nowhere-to-be-found"}
    assert found["numpy"].text.endswith("is installed, and >=9999 is required")
    assert found["numpy"].advice == 'pip install "numpy>=9999"'
    assert found["nowhere-to-be-found"].text == "is not installed"
    extras = {each.name: each for each in health.CHECKS["extras"]()}
    assert extras["flow"].state is State.WRONG
    assert (extras["more"].state, extras["more"].text) == (State.NOTE, "not installed: missing")
    assert extras["more"].advice == 'if you want it: pip install "genprior[more]"'


def test_a_package_beside_one_that_it_does_not_fit(monkeypatch):
    pretend(monkeypatch, requires=lambda name: ["torch==1.0"])
    found = health._package("versions", Requirement("torchvision"))
    assert found.state is State.WRONG
    needs = f"torch {metadata.version('torch')} is installed, and ==1.0 is required"
    assert found.text.endswith(f"whose requirements are not met: {needs}")


@pytest.mark.parametrize("told", [None, "0.0.1"])
def test_code_that_is_not_what_is_installed(told, monkeypatch):
    def version(name):
        if name != "genprior":
            return metadata.version(name)
        if told is None:
            raise metadata.PackageNotFoundError(name)
        return told

    pretend(monkeypatch, version=version)
    text = wrong(health.CHECKS["versions"])["genprior"].text
    assert ("it is not installed as a package" if told is None else "the installed metadata says 0.0.1") in text


# ---------------------------------------------------------------------------------------------------------------------
# Devices and plugins
# ---------------------------------------------------------------------------------------------------------------------


def test_a_gpu_that_torch_cannot_use(monkeypatch):
    monkeypatch.setattr(health.Path, "exists", lambda path: str(path) == "/dev/nvidia0")
    assert "torch is built without CUDA" in health._no_gpu("devices", None, []).text
    driver = health._no_gpu("devices", "13.0", ["The NVIDIA driver on your system is too old"])
    assert driver.state is State.WRONG
    assert driver.text.endswith("built for CUDA 13.0, cannot use it: The NVIDIA driver on your system is too old")


def test_no_gpu_is_nothing_wrong(monkeypatch):
    monkeypatch.setattr(health.Path, "exists", lambda path: False)
    assert health._no_gpu("devices", None, []).state is State.OK


def test_whether_rows_can_share_a_gpu(monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    missing = health._mps("devices")
    assert (missing.state, missing.text) == (
        State.NOTE,
        "nvidia-cuda-mps-control is not on the PATH, so rows side by side take turns on a GPU",
    )
    control = tmp_path / "nvidia-cuda-mps-control"
    control.touch(0o755)
    there = health._mps("devices")
    assert (there.state, there.text) == (State.OK, f"{control}; rows side by side share a GPU by it")
    (tmp_path / "nvidia-cuda-mps-control.pid").write_text("1")
    assert health._mps("devices").text == f"a daemon runs in {tmp_path}; rows side by side share a GPU by it"


def test_more_threads_than_cores_are_a_note(monkeypatch):
    monkeypatch.setattr("genprior.runs.environment.cores", lambda: 0)
    (threads,) = [each for each in health.CHECKS["devices"]() if each.name == "threads"]
    assert threads.state is State.NOTE and threads.text.startswith("1 in torch, of 0 cores")


def test_broken_plugins_and_clashes(monkeypatch):
    registry = Registry()
    registry.broken.append(Broken(Origin("ring", "genprior-ring 0.1"), "ImportError: no module named 'rings'"))
    registry.clashes["prior", "ring"] = (Origin("a", "a 1"), Origin("b", "b 1"))
    monkeypatch.setattr("genprior.registry.installed", lambda: registry)
    found = wrong(health.CHECKS["plugins"])
    assert found["ring"].text == "genprior-ring 0.1 cannot be loaded: ImportError: no module named 'rings'"
    assert "prior 'ring' is registered by several plugins" in found["prior ring"].text
    assert "nothing can be trained" in found["plugins"].text


def test_a_command_that_is_disabled(call, cache, monkeypatch):
    text = "the command 'embed' is defined 2 times"
    monkeypatch.setattr("genprior.cli.doctor.disabled_commands", lambda own: [text] if "doctor" in own else [])
    result = call("doctor", "--json")
    assert result.exit_code == 1
    assert [each["text"] for each in json.loads(result.stdout)["findings"] if each["state"] == "wrong"] == [text]


# ---------------------------------------------------------------------------------------------------------------------
# Files
# ---------------------------------------------------------------------------------------------------------------------


def test_data_sets_in_the_cache_and_their_sizes(cache):
    save_file({"images": torch.zeros(7, 1, 2, 2, dtype=torch.uint8)}, cache / "my-own-train.safetensors")
    save_file({"images": torch.zeros(3, 1, 2, 2, dtype=torch.uint8)}, cache / "my-own-test.safetensors")
    save_file({"features": torch.zeros(2)}, cache / "some-score.safetensors")
    found = {each.name: each.text for each in health_of_files.CHECKS["data sets"]()}
    assert found.pop("others")
    assert found == {"my-own": "test 3 images, train 7 images"}
    size = sum(each.stat().st_size for each in cache.iterdir())
    (folder, weights) = health_of_files.CHECKS["caches"]()
    assert folder.text == f"{cache} (GENPRIOR_DATA): {size} B in 3 files"
    assert weights.text.endswith("not made yet")


@pytest.mark.skipif("not hasattr(__import__('os'), 'mkfifo')", reason="there are no named pipes here")
def test_images_of_another_form_and_names_of_two_lines(call, cache):
    forms = {
        "one": torch.tensor(3, dtype=torch.uint8),
        "flat": torch.zeros(3, dtype=torch.uint8),
        "float": torch.zeros(3, 1, 8, 8, dtype=torch.float32),
    }
    for name, images in forms.items():
        save_file({"images": images}, cache / f"{name}-train.safetensors")
    (cache / "two\n\x1b[31mlines-train.safetensors").write_bytes(b"x")
    lines = call("doctor").output.splitlines()
    for text in ("U8 []", "U8 [3]", "F32 [3, 1, 8, 8]"):
        (line,) = [each for each in lines if f"holds images as {text}, and U8 [n, c, h, w] is needed" in each]
        assert "  wrong  " in line
    (line,) = [each for each in lines if "two" in each]
    assert line.lstrip().startswith("two\\n\\x1b[31mlines-train.safetensors ")


def test_a_folder_that_no_system_can_have_is_not_cured_by_installing(monkeypatch):
    monkeypatch.setenv("GENPRIOR_DATA", "x" * 300)
    found = [each for each in findings_of(health_of_files.CHECKS) if each.state is State.WRONG]
    assert found and all("too long" in each.text and "install" not in each.advice for each in found)


def test_a_pipe_is_not_waited_for(cache):
    os.mkfifo(cache / "x-train.safetensors")
    assert not wrong(health_of_files.CHECKS["caches"])
    assert [each.name for each in health_of_files.CHECKS["data sets"]()] == ["others"]


def test_a_file_in_the_place_of_the_cache(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GENPRIOR_DATA", str(tmp_path / "file" / "data"))
    found = wrong(health_of_files.CHECKS["caches"])["data and scores"]
    assert found.text.endswith(f"{tmp_path}/file is no folder")
    assert found.advice == "set GENPRIOR_DATA to a folder that can be written"


def test_a_folder_that_cannot_be_written(cache, monkeypatch):
    monkeypatch.setattr(health_of_files.os, "access", lambda path, mode: False)
    assert wrong(health_of_files.CHECKS["caches"])["data and scores"].text.endswith(f"{cache} cannot be written")
    assert wrong(health_of_files.CHECKS["disk"])["for runs"].advice == "change to another folder, or give --out"


def test_a_full_disk(cache, monkeypatch):
    monkeypatch.setattr(health_of_files, "LITTLE", 2_000_000)
    monkeypatch.setattr(health_of_files.shutil, "disk_usage", lambda path: SimpleNamespace(free=1_500_000))
    found = wrong(health_of_files.CHECKS["disk"])
    assert found.keys() == {"for caches", "for runs"}
    assert found["for caches"].text == f"1.5 MB free at {cache}"


def test_no_recipes(monkeypatch):
    monkeypatch.setattr(health_of_files, "shipped_recipes", dict)
    assert wrong(health_of_files.CHECKS["recipes"])["recipes"].text == "none is installed"


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (2_340_000, "2.3 MB"), (5 * 10**15, "5000.0 TB")]
)
def test_sizes_are_readable(size, text):
    assert readable_size(size) == text
