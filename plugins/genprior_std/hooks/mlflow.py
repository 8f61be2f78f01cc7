"""MLflow: a run in a tracking store."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from genprior_std.hooks.tracker import Described, Tracker, flattened

__all__ = ["MLflow"]

_AT_ONCE = 100
"""The most parameters of one call."""
_VALUE = 500
"""The most characters of a parameter that all versions of the store take."""

_STATUS = {"finished": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}


class MLflow(Tracker):
    """A run of MLflow in a tracking store.

    Records and scores are metrics, settings parameters, recipe and sample grids artifacts.

    Raises:
        PlanError: the package mlflow is not installed.
    """

    name = "mlflow"
    package = "mlflow"
    extra = "mlflow"

    class Config(Tracker.Config):
        """Settings of MLflow."""

        uri: str | None = None
        """The tracking store: a folder as `file:FOLDER`, a database, or a server; files in the run's folder `mlflow` if
        not given, whatever MLFLOW_TRACKING_URI is."""
        experiment: str = "genprior"
        """The experiment."""

    def begin(self, run: Described, folder: Path, *, resumed: bool) -> None:
        """Create the run, or find the one that has its id as the tag `genprior.id`."""
        uri = self.config.uri or folder.absolute().as_uri()
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        if uri.startswith("file:"):
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # newer versions would refuse a folder
        from mlflow.entities import Param
        from mlflow.tracking import MlflowClient

        self._client: Any = MlflowClient(tracking_uri=uri)
        experiment = self._client.get_experiment_by_name(self.config.experiment)
        number = (
            self._client.create_experiment(self.config.experiment) if experiment is None else experiment.experiment_id
        )
        found = self._client.search_runs([number], f"tags.`genprior.id` = '{run.id}'") if resumed else []
        self._names: dict[str, str] = {}
        self._used = set(found[0].data.metrics) if found else set()
        if found:
            self._id = found[0].info.run_id
            self._client.update_run(self._id, status="RUNNING")
            return
        tags = {**run.tags, "genprior.id": run.id}
        self._id = self._client.create_run(number, tags=tags, run_name=run.name).info.run_id
        pairs = [Param(key, str(value)[:_VALUE]) for key, value in flattened(run.config)]
        for first in range(0, len(pairs), _AT_ONCE):
            self._client.log_batch(self._id, params=pairs[first : first + _AT_ONCE])
        self._client.log_text(self._id, run.recipe, "recipe.toml")

    def send(self, numbers: Mapping[str, float], step: int) -> None:
        """Log metrics."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(self._name(key, numbers), value, now, step) for key, value in numbers.items()]
        self._client.log_batch(self._id, metrics=metrics)

    def send_grid(self, grid: Tensor, step: int) -> None:
        """Log an image, as an artifact of the key `samples` with its step."""
        self._client.log_image(self._id, grid.permute(1, 2, 0).numpy(), key="samples", step=step, synchronous=True)

    def end(self, state: Literal["finished", "interrupted", "failed"]) -> None:
        """Set the status of the run."""
        self._client.set_terminated(self._id, _STATUS[state])

    def _name(self, key: str, keys: Collection[str]) -> str:
        """The name of a metric, one for a key in the whole run.

        A file store has files for metrics and folders for `/`, so that no name can lie below another one: a key with
        others below it, in this call or before, gets `/value`; a key below one that has its file gets `.` there.
        """
        name = self._names.get(key)
        if name is None:
            used = self._used
            above = [key[:at] for at, letter in enumerate(key) if letter == "/"]
            file = next((each for each in above if each in used), None)
            if key in used:  # by the run before it was resumed
                name = key
            elif any(each.startswith(f"{key}/") for each in (*keys, *used)):
                name = f"{key}/value"
            else:
                name = key if file is None else f"{file}.{key[len(file) + 1 :]}"
            self._names[key] = name
            used.add(name)
        return name
