"""Transfer of files in pieces, interrupted sittings, and merging of runs: the scripts, run as a user runs them."""

from __future__ import annotations

import hashlib
import io
import json
import random
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

import genprior

GPU = Path(__file__).parents[2] / "benchmarks" / "gpu"


def script(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", str(GPU / name), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    noise = random.Random(0)
    root = tmp_path / "tree"
    (root / "deep" / "er").mkdir(parents=True)
    (root / "big.bin").write_bytes(noise.randbytes(300_000))
    (root / "deep" / "er" / "small.txt").write_text("tiny\n")
    (root / "empty").write_bytes(b"")
    (root / "__pycache__").mkdir()
    (root / "__pycache__" / "x.pyc").write_bytes(b"not carried")
    return root


@pytest.fixture
def pieces(tree: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "pieces"
    done = script("pack.py", "pack", folder, f"code={tree}", f"data/one.bin={tree / 'big.bin'}", "--limit-mb", 0.1)
    assert done.returncode == 0, done.stderr
    return folder


def test_what_is_joined_is_what_was_packed_bit_for_bit(tree: Path, pieces: Path, tmp_path: Path) -> None:
    assert script("pack.py", "join", pieces, tmp_path / "there").returncode == 0
    there = tmp_path / "there"
    assert (there / "data" / "one.bin").read_bytes() == (tree / "big.bin").read_bytes()
    carried = {p.relative_to(there / "code"): p.read_bytes() for p in (there / "code").rglob("*") if p.is_file()}
    packed = {p.relative_to(tree): p.read_bytes() for p in tree.rglob("*") if p.is_file() and p.suffix != ".pyc"}
    assert carried == packed
    assert len(carried) == 3


def test_no_piece_is_over_the_limit_and_each_has_the_checksum_of_the_manifest(pieces: Path) -> None:
    manifest = json.loads((pieces / "manifest.json").read_text())["pieces"]
    files = sorted(pieces.glob("piece-*"))
    assert [piece["name"] for piece in manifest] == [file.name for file in files]
    assert len(files) >= 7  # at least 600,000 bytes in pieces of at most 100,000
    for piece, file in zip(manifest, files, strict=True):
        assert file.stat().st_size <= 100_000
        assert hashlib.sha256(file.read_bytes()).hexdigest() == piece["sha256"]


def test_a_damaged_piece_is_named_and_nothing_is_unpacked(pieces: Path, tmp_path: Path) -> None:
    victim = pieces / "piece-0003"
    content = bytearray(victim.read_bytes())
    content[500] ^= 1
    victim.write_bytes(content)
    (pieces / "piece-0001").unlink()
    (pieces / "piece-0002").write_bytes(b"short")
    done = script("pack.py", "join", pieces, tmp_path / "there")
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == "send these again:"
    assert "piece-0003: its checksum is wrong" in done.stderr
    assert "piece-0001: missing" in done.stderr
    assert "piece-0002: 5 bytes in place of 100000" in done.stderr
    assert "piece-0000" not in done.stderr
    assert not (tmp_path / "there").exists()


def test_a_folder_without_a_manifest_is_not_joined(pieces: Path, tmp_path: Path) -> None:
    (pieces / "manifest.json").unlink()
    done = script("pack.py", "join", pieces, tmp_path / "there")
    assert done.returncode == 2
    assert "manifest.json is missing" in done.stderr


def test_an_archive_that_leaves_its_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "pieces"
    folder.mkdir()
    with tarfile.open(folder / "piece-0000", "w") as archive:
        member = tarfile.TarInfo("../outside")
        member.size = 3
        archive.addfile(member, io.BytesIO(b"bad"))
    content = (folder / "piece-0000").read_bytes()
    piece = {"name": "piece-0000", "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps({"format": 1, "pieces": [piece]}))
    done = script("pack.py", "join", folder, tmp_path / "there")
    assert done.returncode == 2
    assert "../outside" in done.stderr
    assert not (tmp_path / "outside").exists()


def test_packing_what_does_not_exist_writes_nothing(tmp_path: Path) -> None:
    done = script("pack.py", "pack", tmp_path / "pieces", f"a={tmp_path / 'absent'}")
    assert done.returncode == 2
    assert "not packed, because these do not exist: a=" in done.stderr
    assert not (tmp_path / "pieces").exists()


def test_packing_anew_leaves_no_old_pieces(tree: Path, pieces: Path, tmp_path: Path) -> None:
    script("pack.py", "pack", pieces, f"only={tree / 'deep'}", "--limit-mb", 0.1)
    assert script("pack.py", "join", pieces, tmp_path / "there").returncode == 0
    assert [p.name for p in (tmp_path / "there").rglob("*") if p.is_file()] == ["small.txt"]


# ---------------------------------------------------------------------------------------------------------------------
# Sittings
# ---------------------------------------------------------------------------------------------------------------------

# Counts to 40 and remembers where it was when it is asked to stop, as training does.
COUNTER = """
import signal, sys, time
from pathlib import Path
kept = Path(sys.argv[1])
n = int(kept.read_text()) if kept.exists() else 0
stop = []
signal.signal(signal.SIGINT, lambda *a: stop.append(1))
print("from", n, flush=True)
while n < 40:
    time.sleep(0.1)
    n += 1
    if stop:
        kept.write_text(str(n))
        sys.exit(130)
kept.write_text(str(n))
"""


def test_a_command_that_is_cut_off_goes_on_in_the_next_sitting(tmp_path: Path) -> None:
    (tmp_path / "counter.py").write_text(COUNTER)
    jobs = [
        {"name": "count", "command": ["{python}", str(tmp_path / "counter.py"), str(tmp_path / "n")]},
        {"name": "then", "command": ["{python}", "-c", f"open({str(tmp_path / 'after')!r}, 'a').write('x')"]},
    ]
    (tmp_path / "jobs.json").write_text(json.dumps(jobs))
    arguments = ("run.py", tmp_path / "jobs.json", tmp_path / "state.json", "--minutes", 4 / 60, "--grace", 1.5)
    first = script(*arguments)
    assert first.returncode == 3, first.stderr
    assert 0 < int((tmp_path / "n").read_text()) < 40
    assert json.loads((tmp_path / "state.json").read_text())["count"]["status"] == "cut"
    assert not (tmp_path / "after").exists()
    left = 3
    while (code := script(*arguments).returncode) == 3 and left:
        left -= 1
    assert code == 0
    assert (tmp_path / "n").read_text() == "40"
    assert (tmp_path / "after").read_text() == "x"
    assert (tmp_path / "logs" / "count.log").read_text().count("from 0\n") == 1
    assert script(*arguments).returncode == 0
    assert (tmp_path / "after").read_text() == "x"  # what is done is not done again


def test_a_command_that_does_not_stop_is_killed(tmp_path: Path) -> None:
    stubborn = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(60)"
    (tmp_path / "jobs.json").write_text(json.dumps([{"name": "stubborn", "command": ["{python}", "-c", stubborn]}]))
    arguments = ("run.py", tmp_path / "jobs.json", tmp_path / "state.json", "--minutes", 1.5 / 60, "--grace", 0.5)
    assert script(*arguments).returncode == 3
    state = json.loads((tmp_path / "state.json").read_text())["stubborn"]
    assert (state["status"], state["exit"]) == ("cut", -9)


def test_a_failure_is_recorded_and_the_rest_runs(tmp_path: Path) -> None:
    jobs = [
        {"name": "bad", "command": ["{python}", "-c", "import sys; sys.exit('no such thing')"]},
        {"name": "absent", "command": [str(tmp_path / "no-program")]},
        {"name": "good", "command": ["{python}", "-c", "print('fine')"]},
    ]
    (tmp_path / "jobs.json").write_text(json.dumps(jobs))
    assert script("run.py", tmp_path / "jobs.json", tmp_path / "state.json").returncode == 1
    state = json.loads((tmp_path / "state.json").read_text())
    assert {name: known["status"] for name, known in state.items()} == {
        "bad": "failed", "absent": "failed", "good": "done",
    }  # fmt: skip
    assert "no such thing" in (tmp_path / "logs" / "bad.log").read_text()
    assert "fine" in (tmp_path / "logs" / "good.log").read_text()


def test_two_jobs_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "jobs.json").write_text(json.dumps([{"name": "a", "command": ["x"]}] * 2))
    done = script("run.py", tmp_path / "jobs.json", tmp_path / "state.json")
    assert done.returncode == 2
    assert "the name 'a' is there twice" in done.stderr


# ---------------------------------------------------------------------------------------------------------------------
# Collecting
# ---------------------------------------------------------------------------------------------------------------------


def make_run(folder: Path, step: int, *, finished: bool = False, mark: str = "") -> Path:
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / f"step-{step:08d}.safetensors").write_bytes(mark.encode())
    (folder / "checkpoints" / f"step-{step:08d}.json").write_text("{}")
    (folder / "run.json").write_text(json.dumps({"finished": finished}))
    return folder


@pytest.mark.parametrize(
    ("here", "came", "taken"),
    [
        ((100, False), (200, False), True),
        ((200, False), (100, False), False),
        ((200, False), (200, False), False),
        ((300, False), (200, True), True),
        ((200, True), (300, False), False),
    ],
)
def test_the_run_that_is_further_on_stays(
    here: tuple[int, bool], came: tuple[int, bool], taken: bool, tmp_path: Path
) -> None:
    make_run(tmp_path / "runs" / "AAE" / "seed-0", here[0], finished=here[1], mark="here")
    make_run(tmp_path / "came" / "AAE" / "seed-0", came[0], finished=came[1], mark="came")
    make_run(tmp_path / "came" / "A" / "seed-1", 7, mark="came")
    done = script("collect.py", tmp_path / "came", tmp_path / "runs")
    assert done.returncode == 0, done.stderr
    files = list((tmp_path / "runs" / "AAE" / "seed-0" / "checkpoints").glob("*.safetensors"))
    assert [file.read_text() for file in files] == ["came" if taken else "here"]
    assert (tmp_path / "runs" / "A" / "seed-1" / "run.json").exists()
    assert f"AAE/seed-0: {'taken' if taken else 'kept'}" in done.stdout


def test_a_checkpoint_that_was_cut_off_does_not_count(tmp_path: Path) -> None:
    make_run(tmp_path / "runs" / "a", 100, mark="here")
    cut = make_run(tmp_path / "came" / "a", 50, mark="came")
    (cut / "checkpoints" / "step-00000900.safetensors").write_bytes(b"half")
    script("collect.py", tmp_path / "came", tmp_path / "runs")
    assert (tmp_path / "runs" / "a" / "checkpoints" / "step-00000100.safetensors").exists()


def test_what_holds_no_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "came").mkdir()
    done = script("collect.py", tmp_path / "came", tmp_path / "runs")
    assert done.returncode == 2
    assert "there is no run folder" in done.stderr


# ---------------------------------------------------------------------------------------------------------------------
# The jobs of the plan
# ---------------------------------------------------------------------------------------------------------------------

ROOT = GPU.parents[1]
JOBS = json.loads((GPU / "jobs.json").read_text())


def options(command: list[str], name: str) -> list[str]:
    return [command[i + 1] for i, word in enumerate(command) if word == name]


NOISY = ("aae_semi_supervised", "aae_clustering", "pixelgan_clustering", "pixelgan_semi_supervised")
"""Recipes that train under three seeds, by jobs 12 and 14 of the plan."""
ONCE = ("aae_mnist_codes", "aae_dim_reduction", "aae_label_info", "aae_supervised", "pixelgan_gaussian")
"""Recipes that train under one seed, by job 13 of the plan."""


@pytest.mark.parametrize(("job", "recipes", "seeds"), [(12, NOISY, 1), (13, ONCE, 1), (14, NOISY, 2)])
def test_the_plan_says_how_many_runs_whole_recipes_are(job: int, recipes: tuple[str, ...], seeds: int) -> None:
    import genprior

    (line,) = [line for line in (GPU / "PLAN.md").read_text().splitlines() if line.startswith(f"| {job} |")]
    rows = sum(len(genprior.load_recipe(ROOT / "recipes" / f"{name}.toml").plans) for name in recipes)
    assert int(line.split(" | ")[2]) == seeds * rows


def test_the_plan_holds_every_row_under_three_seeds_and_the_variants() -> None:
    table3 = [job["name"] for job in JOBS if job["name"].startswith("table3-")]
    assert len(table3) == 8 * 3
    assert table3[:8] == [f"table3-{row}-seed0" for row in ("AAE", "A", "B", "C", "A+B", "A+C", "B+C", "A+B+C")]
    assert len([job for job in JOBS if job["name"].startswith(("supervised-", "unsupervised-"))]) == 2 * 2 * 3
    recipes = [f"{name}-seed{seed}" for name in NOISY for seed in (0, 1, 2)] + [f"{name}-seed0" for name in ONCE]
    assert sorted(job["name"] for job in JOBS if job["name"].startswith(("aae_", "pixelgan_"))) == sorted(recipes)
    assert len({job["name"] for job in JOBS}) == len(JOBS)


EPOCHS = {"cifar10": 100, "vampprior_mnist": 2_000, "aae_clustering_literal": 1_500} | dict.fromkeys(
    ("pixelgan_clustering", "pixelgan_semi_supervised", "pixelgan_gaussian"), 100
)
"""Of full size, by recipe or else by data set; the recipes of adversarial autoencoders on MNIST have 200."""


@pytest.mark.parametrize("job", [job for job in JOBS if "train" in job["command"]], ids=lambda job: job["name"])
def test_every_training_job_is_of_valid_rows_at_full_size(job: dict[str, list[str]]) -> None:
    import genprior

    command = job["command"]
    rows, (seed,) = options(command, "--rows") or None, options(command, "--seeds")
    changes, settings = options(command, "--with"), options(command, "--set")
    recipe = genprior.load_recipe(ROOT / command[2], changes=changes, rows=rows, settings=settings, seeds=[int(seed)])
    labels = [plan.label for plan in recipe.plans]
    assert labels == rows if rows else len(labels) > 1
    (out,) = options(command, "--out")
    for plan in recipe.plans:
        assert plan.run.seeds == (int(seed),)
        epochs = EPOCHS.get(recipe.name) or EPOCHS.get(plan.data.name, 200)
        batch = plan.run.batch / getattr(plan.model, "critic_steps", 1)
        assert plan.run.steps * batch == pytest.approx(epochs * 50_000, rel=0.001)
        if rows is None:
            assert out == f"runs/{recipe.name}" and job["name"] == f"{recipe.name}-seed{seed}"


def test_the_published_clusters_are_the_first_of_the_jobs_on_mnist() -> None:
    import genprior

    training = [job for job in JOBS if "train" in job["command"]]
    sets = {path: genprior.load_recipe(ROOT / path).plans[0].data.name for path in {j["command"][2] for j in training}}
    on_mnist = [job["name"] for job in training if sets[job["command"][2]] == "mnist"]
    assert on_mnist[:2] == ["literal-clusters-30-seed0", "literal-clusters-16-seed0"]


CONTROL = """#!/bin/sh
if [ "$1" = "-d" ]; then echo "start $CUDA_MPS_PIPE_DIRECTORY" >> CALLS; else read word; echo "$word" >> CALLS; fi
"""
MEETS = """
import os, sys, time
from pathlib import Path
here, other = map(Path, sys.argv[1:3])
here.write_text(os.environ.get("CUDA_MPS_PIPE_DIRECTORY", "none"))
while not other.exists():
    time.sleep(0.02)
"""


@pytest.mark.parametrize("mps", ["there", "absent", "broken"])
def test_commands_run_at_once_beside_a_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mps: str) -> None:
    """Each waits for the other one; the daemon is a script that notes its calls."""
    monkeypatch.delenv("CUDA_MPS_PIPE_DIRECTORY", raising=False)
    (tmp_path / "bin").mkdir()
    if mps != "absent":
        control = tmp_path / "bin" / "nvidia-cuda-mps-control"
        control.write_text(
            CONTROL.replace("CALLS", str(tmp_path / "calls")) if mps == "there" else "#!/bin/sh\nexit 1\n"
        )
        control.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    (tmp_path / "meets.py").write_text(MEETS)
    a, b = str(tmp_path / "a"), str(tmp_path / "b")
    jobs = [
        {"name": "one", "command": ["{python}", str(tmp_path / "meets.py"), a, b]},
        {"name": "two", "command": ["{python}", str(tmp_path / "meets.py"), b, a]},
    ]
    (tmp_path / "jobs.json").write_text(json.dumps(jobs))
    arguments = ("run.py", tmp_path / "jobs.json", tmp_path / "state.json", "--minutes", 1, "--grace", 1, "--together")
    done = script(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {each["status"] for each in json.loads((tmp_path / "state.json").read_text()).values()} == {"done"}
    place = Path(a).read_text()
    assert Path(b).read_text() == place
    if mps == "there":
        assert (tmp_path / "calls").read_text() == f"start {place}\nquit\n"
        assert place.startswith("/tmp/mps-") and not Path(place).exists()
    else:
        said = "nvidia-cuda-mps-control is not on the PATH" if mps == "absent" else "because MPS cannot be started: "
        assert place == "none" and said in done.stdout


def test_commands_that_are_cut_at_once_go_on_in_the_next_sitting(tmp_path: Path) -> None:
    (tmp_path / "counter.py").write_text(COUNTER)
    jobs = [
        {"name": name, "command": ["{python}", str(tmp_path / "counter.py"), str(tmp_path / name)]} for name in "ab"
    ]
    jobs.append({"name": "wrong", "command": ["{python}", "-c", "raise SystemExit(2)"]})
    (tmp_path / "jobs.json").write_text(json.dumps(jobs))
    arguments = ("run.py", tmp_path / "jobs.json", tmp_path / "state.json", "--grace", 1.5, "--together", "--minutes")
    assert script(*arguments, 3.5 / 60).returncode == 3
    assert all(0 < int((tmp_path / name).read_text()) < 40 for name in "ab")
    assert script(*arguments, 1).returncode == 1  # the one that failed is not run again
    assert [(tmp_path / name).read_text() for name in "ab"] == ["40", "40"]
    state = json.loads((tmp_path / "state.json").read_text())
    assert [state[name]["status"] for name in ("a", "b", "wrong")] == ["done", "done", "failed"]


def test_the_trainings_on_mnist_are_rows_of_recipes_that_exist() -> None:
    for job in json.loads((GPU / "mnist.json").read_text()):
        words = job["command"]
        given = {flag: [words[i + 1] for i, word in enumerate(words) if word == flag] for flag in ("--with", "--rows")}
        rows = [row for text in given["--rows"] for row in text.split(",")]
        recipe = genprior.load_recipe(GPU.parents[1] / words[4], changes=given["--with"], rows=rows or None)
        assert recipe.plans, job["name"]
