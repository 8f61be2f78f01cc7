"""Trackers that fail or lack their library."""

from __future__ import annotations

import importlib.util
import json
import sys
import types
from typing import ClassVar
from unittest import mock

import pytest
import torch

import genprior
from genprior_std.hooks.tracker import Tracker


class Broken(Tracker):
    """Fails at a chosen method."""

    name = "broken"
    package = "json"
    extra = "broken"
    at = "send"

    def begin(self, run, folder, *, resumed) -> None:
        self._fail("begin")

    def send(self, numbers, step) -> None:
        self._fail("send")

    def send_grid(self, grid, step) -> None:
        self._fail("send_grid")

    def end(self, state) -> None:
        self._fail("end")

    def _fail(self, name) -> None:
        if name == self.at:
            raise ConnectionError("no answer")


@pytest.mark.parametrize("at", ["begin", "send", "send_grid", "end"])
@pytest.mark.usefixtures("clean_session")
def test_a_failing_tracker_is_one_warning(tracked, monkeypatch, at) -> None:
    monkeypatch.setattr(Broken, "at", at)
    genprior.register(Broken)
    with pytest.warns(genprior.GenpriorWarning, match="ConnectionError: no answer") as told:
        trainer = tracked("broken")
    assert trainer.step == 6 and len(told) == 1
    failures = {"begin": 1, "send": 4, "send_grid": 2, "end": 1}  # three records and the scores
    assert json.loads((trainer.folder / "run.json").read_text())["hook_failures"] == {"broken": failures[at]}


class Returning(Broken):
    """Fails once, after ten seconds of its clock."""

    name = "returning"
    at = ""
    sent: ClassVar[list[tuple[int, set[str]]]] = []
    tried: ClassVar[list[int]] = []
    now: ClassVar[float] = 0.0

    def send(self, numbers, step) -> None:
        self.tried.append(step)
        if len(self.tried) == 1:
            Returning.now += 10
            raise ConnectionError("no answer")
        self.sent.append((step, set(numbers)))

    def send_grid(self, grid, step) -> None:
        self.tried.append(-step)


@pytest.mark.usefixtures("clean_session")
@pytest.mark.parametrize("wait", [0, 300])
def test_records_that_were_not_sent_are_sent_later_and_a_slow_tracker_is_left_alone(tracked, monkeypatch, wait) -> None:
    """After a failure of 10 s nothing is tried for 200 s; with the scores, at the end, all is tried again."""
    for name, value in (("sent", []), ("tried", []), ("now", 0.0)):
        monkeypatch.setattr(Returning, name, value)
    clock = types.SimpleNamespace(monotonic=lambda: Returning.now)
    monkeypatch.setattr("genprior_std.hooks.tracker.time", clock)
    done = Returning.step_done

    def step_done(self, run, step, metrics) -> None:
        Returning.now += wait if step == 4 else 0
        done(self, run, step, metrics)

    monkeypatch.setattr(Returning, "step_done", step_done)
    genprior.register(Returning)
    with pytest.warns(genprior.GenpriorWarning, match="ConnectionError: no answer") as told:
        trainer = tracked("returning")
    assert len(told) == 1
    assert Returning.tried == ([2, 2, 4, 6, -6, 6] if wait else [2, 2, 4, 6, 6])
    records = {step: keys - {"step"} for step, keys in Returning.sent[:3]}
    assert records == {line["step"]: line.keys() - {"step"} for line in trainer.metrics}
    (scores,) = Returning.sent[3:]
    assert scores[0] == 6 and "score/parzen" in scores[1]


class Grids(Broken):
    """Keeps what it is sent."""

    name = "grids"
    at = ""
    sent: ClassVar[list[torch.Tensor]] = []

    def send_grid(self, grid, step) -> None:
        self.sent.append(grid)


def test_a_grid_shows_all_channels(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(Grids, "sent", [])
    hook = Grids(Grids.Config())
    hook._open, hook._file = True, tmp_path / "tracked.json"
    images = torch.arange(24, dtype=torch.uint8).reshape(1, 2, 3, 4)
    hook.sampled(None, 1, images.expand(2, -1, -1, -1))
    (grid,) = Grids.sent
    assert grid.shape == (3, 7, 22)
    assert torch.equal(grid[:, 2:5, 2:10], torch.cat([*images[0]], 1).expand(3, -1, -1))


@pytest.mark.parametrize(("name", "package"), [
    ("tensorboard", "tensorboard"), ("wandb", "wandb"), ("mlflow", "mlflow"), ("trackio", "trackio"),
])  # fmt: skip
def test_a_missing_library_is_told_before_training(tracked, tmp_path, monkeypatch, name, package) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n, *more: None if n == package else found(n, *more))
    with pytest.raises(genprior.PlanError, match=f"hook '{name}' needs the package {package}") as told:
        tracked(name)
    assert f'pip install "genprior[{name}]"' in str(told.value)
    assert f"run.hooks.{name}.enabled = false" in str(told.value)
    assert not (tmp_path / "run" / "recipe.toml").exists()


@pytest.mark.usefixtures("clean_session")
def test_a_damaged_record_of_what_was_sent_is_told(tracked, monkeypatch) -> None:
    monkeypatch.setattr(Broken, "at", "")
    genprior.register(Broken)
    stopped = tracked("broken", until=3)
    (stopped.folder / "broken" / "tracked.json").write_text("{")
    with pytest.warns(genprior.GenpriorWarning, match=r"tracked\.json is damaged; remove it"):
        assert tracked("broken").step == 6


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "mlflow", "trackio"])
def test_a_tracker_ends_the_run_where_a_recipe_says_so(tracked, monkeypatch, name) -> None:
    """The library is one without contents, so the tracker cannot begin."""
    found = importlib.util.find_spec
    packages = ("tensorboard", "wandb", "mlflow", "trackio")
    monkeypatch.setattr(importlib.util, "find_spec", lambda n, *more: found("json" if n in packages else n, *more))
    for package in ("wandb", "mlflow", "mlflow.entities", "trackio", "torch.utils.tensorboard"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(genprior.PartFailed, match=f"hook '{name}' .* failed at the start of the run"):
        tracked(name, 'on_error="stop"')
    with pytest.warns(genprior.GenpriorWarning, match=f"hook '{name}' .* failed at the start of the run"):
        assert tracked(name, 'on_error="warn"').step == 6


def test_weights_and_biases_are_asked_for_the_network_by_the_recipe_alone(tracked, monkeypatch) -> None:
    asked = []
    wandb = mock.MagicMock()
    wandb.init.side_effect = lambda **settings: asked.append(settings["mode"]) or mock.MagicMock()
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n, *more: found("json" if n == "wandb" else n, *more))
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    tracked("wandb", folder="first")
    tracked("wandb", 'mode="online"', folder="second")
    assert asked == ["offline", "online"]


def test_trackio_is_asked_for_a_space_by_the_recipe_alone(tracked, monkeypatch) -> None:
    trackio = mock.MagicMock()
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n, *more: found("json" if n == "trackio" else n, *more))
    monkeypatch.setitem(sys.modules, "trackio", trackio)
    monkeypatch.setitem(sys.modules, "trackio.run", trackio.run)
    tracked("trackio", folder="first")
    tracked("trackio", 'space="me/runs"', folder="second")
    assert [call.kwargs["space_id"] for call in trackio.init.call_args_list] == [None, "me/runs"]
