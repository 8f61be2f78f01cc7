"""Rows on a real Ray of this machine, with two cores and a GPU that only Ray believes in."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
import warnings
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

import genprior
import genprior_ray
from genprior_ray import RayLauncher

ray = pytest.importorskip("ray", reason="ray is not installed: pip install ray")

pytestmark = pytest.mark.filterwarnings(
    "ignore::FutureWarning", "ignore::ResourceWarning", "ignore::DeprecationWarning"
)

TABLES: dict[str, Any] = {
    "run": {
        "steps": 600,
        "batch": 8,
        "checkpoint_every": 1000,
        "log_every": 200,
        "hooks": {"pictures": {"enabled": False}},
        "sample_every": 10_000,
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
    "change": {"wide": {"model": {"code_size": 6}}},
    "row": [{"label": "narrow", "changes": []}, {"label": "wide", "changes": ["wide"]}],
}


def recipe(**run: Any) -> genprior.Recipe:
    return genprior.make_recipe({**TABLES, "run": {**TABLES["run"], **run}}, name="tiny")


def launcher(**settings: Any) -> RayLauncher:
    return RayLauncher(RayLauncher.Settings(**settings))


@pytest.fixture(scope="module")
def cluster() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ray.init(
            num_cpus=2, num_gpus=1, include_dashboard=False, logging_level="ERROR", log_to_driver=False,
            object_store_memory=100 * 2**20,
            _system_config={"worker_niceness": 0},  # 15 by default: on a busy machine, the tests would wait
        )  # fmt: skip
        yield
        ray.shutdown()


class Heard(genprior.Reporter):
    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []

    def progress(self, job: Any, step: int, rate: float) -> None:
        self.events.append(("progress", job.plan.label))

    def finished(self, job: Any, scores: dict[str, float]) -> None:
        self.events.append(("finished", job.plan.label))

    def ends(self) -> list[tuple[str, str]]:
        return [each for each in self.events if each[0] == "finished"]


def weights(folder: Path) -> dict[str, Any]:
    return load_file(sorted(folder.glob("checkpoints/*.safetensors"))[-1])


def same(first: Path, second: Path) -> bool:
    one, two = weights(first), weights(second)
    return one.keys() == two.keys() and all((one[key] == two[key]).all() for key in one)


@pytest.mark.usefixtures("cluster")
def test_rows_share_a_gpu_by_fractions_and_are_the_rows_here(tmp_path: Path) -> None:
    free: list[float] = []

    class Watching(Heard):
        def progress(self, job: Any, step: int, rate: float) -> None:
            super().progress(job, step, rate)
            free.append(ray.available_resources().get("GPU", 0.0))

    heard = Watching()
    rows = recipe()
    table = genprior.train(rows, out=tmp_path / "there", on=launcher(gpus=0.5), device="cpu", reporter=heard)
    assert sorted(heard.ends()) == [("finished", "narrow"), ("finished", "wide")]
    assert [row.label for row in table.rows] == ["narrow", "wide"]
    assert 0.0 in free and 1.0 not in free  # each row had its half
    assert not (tmp_path / "there" / ".tasks").exists()
    genprior.train(rows, out=tmp_path / "here", progress=False)
    for label in ("narrow", "wide"):
        assert same(tmp_path / "there" / label / "seed-0", tmp_path / "here" / label / "seed-0")


@pytest.mark.usefixtures("cluster")
def test_a_row_whose_worker_is_killed_resumes_on_another(tmp_path: Path) -> None:
    rows = recipe(steps=900, checkpoint_every=300)
    folder = tmp_path / "there" / "wide" / "seed-0"

    class Killing(Heard):
        def progress(self, job: Any, step: int, rate: float) -> None:
            if not self.events:
                (told,) = (tmp_path / "there" / ".tasks").glob("*/*/messages.jsonl")
                begun = json.loads(told.read_text().split("\n")[1])
                while not list(folder.glob("checkpoints/*.json")):
                    time.sleep(0.05)
                os.kill(begun["process"], signal.SIGKILL)
            super().progress(job, step, rate)

    with pytest.warns(genprior.GenpriorWarning, match="row 'wide': its task was lost, and resumes on"):
        genprior.train(rows, rows=["wide"], out=tmp_path / "there", on=launcher(), device="cpu", reporter=Killing())
    genprior.train(rows, rows=["wide"], out=tmp_path / "here", progress=False)
    assert same(folder, tmp_path / "here" / "wide" / "seed-0")


@pytest.mark.usefixtures("cluster")
def test_without_retries_the_row_fails_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killing(Heard):
        def progress(self, job: Any, step: int, rate: float) -> None:
            if job.plan.label == "narrow" and ("progress", "narrow") not in self.events:
                (told,) = (tmp_path / ".tasks").glob("*/0/messages.jsonl")
                os.kill(json.loads(told.read_text().split("\n")[1])["process"], signal.SIGKILL)
            super().progress(job, step, rate)

    heard = Killing()
    with pytest.raises(genprior.LaunchError, match="row 'narrow': its task was lost .*give the same command again"):
        genprior.train(recipe(), out=tmp_path, on=launcher(retries=0), device="cpu", reporter=heard)
    assert heard.ends() == [("finished", "wide")]


@pytest.mark.usefixtures("cluster")
def test_ctrl_c_stops_with_checkpoints_and_cancels_rows_that_wait(tmp_path: Path) -> None:
    class Stopping(Heard):
        def progress(self, job: Any, step: int, rate: float) -> None:
            if not self.events:
                os.kill(os.getpid(), signal.SIGINT)
            super().progress(job, step, rate)

    rows = recipe(steps=1_000_000, checkpoint_every=1_000_000)
    with pytest.raises(genprior.Interrupted, match="row 'narrow' stopped after"):
        genprior.train(rows, out=tmp_path, on=launcher(cpus=2), device="cpu", reporter=Stopping())
    assert genprior.load_run(tmp_path / "narrow" / "seed-0").step > 0
    assert not (tmp_path / "wide").exists()


@pytest.mark.usefixtures("cluster")
def test_what_no_machine_has_is_told() -> None:
    large = launcher(cpus=3, gpus=0.5, resources={"a100": 1})
    with pytest.warns(
        genprior.GenpriorWarning,
        match=r"no machine has 3 CPU, 0\.5 GPU, 1 a100 for a row, .*There are: 2 CPU, 1 GPU, 0 a100",
    ):
        large.open("auto")
    large.close()
    with pytest.raises(genprior.LaunchError, match="--device cuda, but launcher 'ray' gives each row gpus = 0"):
        launcher(gpus=0).open("cuda")
    assert ray.is_initialized()  # it was connected before


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize(("device", "gpus"), [("auto", 1.0), ("cuda", 1.0), ("cpu", 0.0)])
def test_a_row_has_a_gpu_where_there_are_some(device: str, gpus: float) -> None:
    each = launcher()
    each.open(device)
    assert each._gpus == gpus and each.threads == 1


# ---------------------------------------------------------------------------------------------------------------------
# A cluster that does not answer
# ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if this process were not connected to a cluster."""
    monkeypatch.setattr(ray, "is_initialized", lambda: False)


@pytest.mark.usefixtures("without_ray")
def test_an_address_where_nothing_listens_is_refused_and_nothing_written(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    for address in (f"127.0.0.1:{port}", f"ray://127.0.0.1:{port}"):
        with pytest.raises(genprior.LaunchError) as caught:
            genprior.train(recipe(), out=tmp_path / "runs", on=launcher(address=address), progress=False)
        assert str(caught.value) == (
            f"launcher 'ray': no Ray cluster answers at {address} ([Errno 111] Connection refused). Start one with "
            "`ray start --head` and, on other machines, `ray start --address=HOST:PORT`; give its address, as in --on "
            "'ray={address=\"HOST:PORT\"}', or leave the address out to use this machine alone"
        )
        assert caught.value.exit_code == 2 and not (tmp_path / "runs").exists()


@pytest.mark.usefixtures("without_ray")
def test_an_address_that_never_answers_is_refused_in_time(tmp_path: Path) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        address, start = f"127.0.0.1:{deaf.getsockname()[1]}", time.monotonic()
        with pytest.raises(genprior.LaunchError, match=rf"answers at {address} \(no answer in 1 seconds\)"):
            genprior.train(recipe(), out=tmp_path / "runs", on=launcher(address=address, seconds=1), progress=False)
    assert time.monotonic() - start < 5 and not (tmp_path / "runs").exists()


@pytest.mark.usefixtures("without_ray")
def test_a_text_that_is_no_address_is_refused() -> None:
    with pytest.raises(genprior.LaunchError, match='address = "host:port" is no address; give "auto", "HOST:PORT"'):
        launcher(address="host:port").open("auto")


def test_without_ray_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(genprior_ray.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(genprior.LaunchError, match="needs the package ray, which is not installed: pip install ray"):
        launcher().open("auto")
