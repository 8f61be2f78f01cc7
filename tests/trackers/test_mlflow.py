"""Runs of MLflow in a folder, read by MLflow."""

from __future__ import annotations

import os

import numpy as np
import pytest

from genprior.testing import check_hook
from genprior_std.hooks.mlflow import MLflow
from genprior_std.hooks.tracker import Described

pytest.importorskip("mlflow", reason="needs the extra `mlflow`")


def read(uri, experiment="genprior"):
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    return client, client.search_runs([client.get_experiment_by_name(experiment).experiment_id])


def test_an_interrupted_run_is_one_run_with_each_step_once(interrupted) -> None:
    run = interrupted("mlflow", 'experiment="digits"')
    client, (held,) = read((run.trainer.folder / "mlflow").as_uri(), "digits")
    assert held.info.status == "FINISHED" and held.info.run_name == "AAE seed 0"
    assert held.data.metrics.keys() == run.numbers.keys() | {"seconds"}
    for key, values in run.numbers.items():
        history = [(each.step, each.value) for each in client.get_metric_history(held.info.run_id, key)]
        assert history == [(step, pytest.approx(value, rel=1e-12)) for step, value in values]
    assert {key: held.data.tags[key] for key in ("recipe", "row", "seed")} == {
        "recipe": "tiny", "row": "AAE", "seed": "0"
    }  # fmt: skip
    assert (held.data.params["model.code_size"], held.data.params["model.prior.name"]) == ("4", "gaussian")
    files = [file.path for file in client.list_artifacts(held.info.run_id)]
    assert {"recipe.toml", "images"} <= set(files)
    from mlflow.artifacts import load_image, load_text

    root = held.info.artifact_uri
    assert load_text(f"{root}/recipe.toml") == run.trainer.plan.as_toml()
    images = sorted(f.path for f in client.list_artifacts(held.info.run_id, "images") if f.path.endswith(".png"))
    assert [name.split("+")[:3] for name in images] == [
        ["images/samples", "step", "3"],
        ["images/samples", "step", "6"],
    ]
    shown = np.array(load_image(f"{root}/{images[-1]}"))
    assert shown.shape == (12, 42, 3)


def test_a_store_of_several_runs(tracked, tmp_path) -> None:
    for name in ("one", "two"):
        tracked("mlflow", f'uri="{(tmp_path / "store").as_uri()}"', folder=name)
    _, runs = read((tmp_path / "store").as_uri())
    assert len({each.data.tags["genprior.id"] for each in runs}) == 2


def test_a_metric_whose_name_begins_those_of_others(tmp_path) -> None:
    """A VAE notes `elbo/reconstruction` and records the loss `elbo/reconstruction/loss` of a module of that name."""
    hook = MLflow(MLflow.Config(uri=(tmp_path / "store").as_uri()))
    hook.begin(Described("0123abcd", "VAE seed 0", {}, {}, ""), tmp_path, resumed=False)
    for step in (1, 2):
        hook.send({"elbo/reconstruction": 1.0, "elbo/reconstruction/loss": 2.0, "elbo/kl": 3.0}, step)
    _, (held,) = read((tmp_path / "store").as_uri())
    assert held.data.metrics == {"elbo/reconstruction/value": 1.0, "elbo/reconstruction/loss": 2.0, "elbo/kl": 3.0}


def test_a_metric_has_one_name_in_a_run(tmp_path) -> None:
    """Whatever else is sent with it, and after the run was resumed."""

    def begin(resumed):
        hook = MLflow(MLflow.Config(uri=(tmp_path / "store").as_uri()))
        hook.begin(Described("0123abcd", "VAE seed 0", {}, {}, ""), tmp_path, resumed=resumed)
        return hook

    hook = begin(False)
    hook.send({"a": 1.0, "a/b": 2.0, "c": 3.0}, 1)
    hook.send({"a": 4.0, "c/d": 5.0}, 2)
    hook = begin(True)
    hook.send({"a": 6.0, "c": 7.0, "c/d": 8.0}, 3)
    client, (held,) = read((tmp_path / "store").as_uri())
    sent = {
        name: [each.value for each in client.get_metric_history(held.info.run_id, name)] for name in held.data.metrics
    }
    assert sent == {"a/value": [1, 4, 6], "a/b": [2], "c": [3, 7], "c.d": [5, 8]}


NAMES = (
    "score/fid[inception]", "rec (A), B", "rec [A], B", "<b>", "a*b", "zahl/\u00e4", "\U0001f600", "a//b", "a/", "/a",
    "", ".", "../..", "a/../b", "two\nlines", "nul\0", "x" * 250, "x" * 251, "y" * 300, "y" * 299 + "z",
    "deep/" * 80, "plain",
)  # fmt: skip


def test_a_metric_of_any_name_is_sent_and_names_stay_apart(tmp_path) -> None:
    """Of a note of a model or a score of a plugin; one name that the store refuses would lose the whole record."""
    hook = MLflow(MLflow.Config(uri=(tmp_path / "store").as_uri()))
    config = {"odd [key]": 1, "long" * 100: 2, "rec": {"(A)": 3}}
    hook.begin(Described("0123abcd", "VAE seed 0", {}, config, ""), tmp_path, resumed=False)
    hook.send({name: float(at) for at, name in enumerate(NAMES)}, 1)
    hook.send({name: float(at) for at, name in enumerate(NAMES)}, 2)
    client, (held,) = read((tmp_path / "store").as_uri())
    sent = {
        name: [each.value for each in client.get_metric_history(held.info.run_id, name)] for name in held.data.metrics
    }
    assert sorted(sent.values()) == [[at, at] for at in range(len(NAMES))]
    assert {"score/fid_inception_", "rec _A__ B", "plain", "zahl/\u00e4"} <= sent.keys()
    assert len(held.data.params) == 3 and held.data.params["rec._A_"] == "3"


def test_rows_at_once_share_an_experiment(tmp_path) -> None:
    """Of which none was there before."""
    from concurrent.futures import ThreadPoolExecutor

    uri = (tmp_path / "store").as_uri()

    def begin(number):
        hook = MLflow(MLflow.Config(uri=uri))
        hook.begin(Described(f"0123abc{number}", "VAE seed 0", {}, {}, ""), tmp_path, resumed=False)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(begin, range(8)))
    assert len(read(uri)[1]) == 8


def test_a_server_where_another_row_creates_the_experiment_first(tmp_path, monkeypatch) -> None:
    from mlflow.tracking import MlflowClient

    create = MlflowClient.create_experiment

    def late(self, name):
        create(self, name)
        raise RuntimeError(f"Experiment {name} already exists")

    monkeypatch.setattr(MlflowClient, "create_experiment", late)
    hook = MLflow(MLflow.Config(uri=(tmp_path / "store").as_uri()))
    hook.begin(Described("0123abcd", "VAE seed 0", {}, {}, ""), tmp_path, resumed=False)
    assert len(read((tmp_path / "store").as_uri())[1]) == 1


def test_a_server_that_is_down_is_given_up_soon(tmp_path, monkeypatch) -> None:
    """By the library's own settings in four minutes; those of the user count."""
    for name in ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    hook = MLflow(MLflow.Config(uri="http://127.0.0.1:9"))
    with pytest.raises(Exception, match="127.0.0.1"):
        hook.begin(Described("0123abcd", "VAE seed 0", {}, {}, ""), tmp_path, resumed=False)
    assert os.environ.pop("MLFLOW_HTTP_REQUEST_TIMEOUT") == "20"
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "0"


@pytest.mark.parametrize(
    ("state", "status"), [("finished", "FINISHED"), ("interrupted", "KILLED"), ("failed", "FAILED")]
)
def test_the_status_of_a_run(state, status, tmp_path) -> None:
    hook = MLflow(MLflow.Config(uri=(tmp_path / "store").as_uri()))
    hook.begin(Described("0123abcd", "VAE seed 0", {}, {}, ""), tmp_path, resumed=False)
    hook.end(state)
    assert read((tmp_path / "store").as_uri())[1][0].info.status == status


def test_the_contract_of_hooks(tmp_path) -> None:
    check_hook(MLflow.Config(uri=(tmp_path / "store").as_uri(), samples=4))
