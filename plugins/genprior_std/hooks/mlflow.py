"""MLflow: a run in a tracking store."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from filelock import FileLock
from torch import Tensor

from genprior_std.hooks.tracker import Described, Tracker, flattened

__all__ = ["MLflow"]

_AT_ONCE = 100
"""The most parameters of one call."""
_VALUE = 500
"""The most characters of a parameter that all versions of the store take."""

_NAME = 250
"""The most characters of the name of a metric or a parameter."""
_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
"""The library's own would wait four minutes for a server that is down, and a quarter of an hour for a silent one."""

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
        for key, value in _PATIENCE.items():
            os.environ.setdefault(key, value)
        from mlflow.entities import Param
        from mlflow.tracking import MlflowClient

        self._client: Any = MlflowClient(tracking_uri=uri)
        with _alone_in(uri):
            number = self._experiment()
        found = self._client.search_runs([number], f"tags.`genprior.id` = '{run.id}'") if resumed else []
        self._names: dict[str, str] = {}
        self._plain: dict[str, str] = {}
        self._used = set(found[0].data.metrics) if found else set()
        if found:
            self._id = found[0].info.run_id
            self._client.update_run(self._id, status="RUNNING")
            return
        tags = {**run.tags, "genprior.id": run.id}
        self._id = self._client.create_run(number, tags=tags, run_name=run.name).info.run_id
        pairs = [Param(_allowed(key), str(value)[:_VALUE]) for key, value in flattened(run.config)]
        for first in range(0, len(pairs), _AT_ONCE):
            self._client.log_batch(self._id, params=pairs[first : first + _AT_ONCE])
        self._client.log_text(self._id, run.recipe, "recipe.toml")

    def send(self, numbers: Mapping[str, float], step: int) -> None:
        """Log metrics."""
        from mlflow.entities import Metric

        numbers = {self._plainly(key): value for key, value in numbers.items()}
        now = int(time.time() * 1000)
        metrics = [Metric(self._name(key, numbers), value, now, step) for key, value in numbers.items()]
        self._client.log_batch(self._id, metrics=metrics)

    def send_grid(self, grid: Tensor, step: int) -> None:
        """Log an image, as an artifact of the key `samples` with its step."""
        self._client.log_image(self._id, grid.permute(1, 2, 0).numpy(), key="samples", step=step, synchronous=True)

    def end(self, state: Literal["finished", "interrupted", "failed"]) -> None:
        """Set the status of the run."""
        self._client.set_terminated(self._id, _STATUS[state])

    def _experiment(self) -> str:
        """The id of the experiment, which is created if there is none."""
        experiment = self._client.get_experiment_by_name(self.config.experiment)
        if experiment is None:
            try:
                return str(self._client.create_experiment(self.config.experiment))
            except Exception:  # of a server: another row may have created it meanwhile
                experiment = self._client.get_experiment_by_name(self.config.experiment)
                if experiment is None:
                    raise
        return str(experiment.experiment_id)

    def _plainly(self, key: str) -> str:
        """The key as the store takes it, another one for each key."""
        if key not in self._plain:
            plain = _allowed(key)
            self._plain[key] = plain if plain not in self._plain.values() else _marked(plain, key)
        return self._plain[key]

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


def _allowed(key: str) -> str:
    """A name that every store takes: letters, digits and ` _-.:`, with `/` between parts that a folder may have."""
    parts = (re.sub(r"[^\w.\- :]", "_", part) or "_" for part in key.split("/"))
    name = "/".join(part if part.strip(".") else "_" * len(part) for part in parts)
    return name if len(name) <= _NAME else _marked(name, key)


def _marked(name: str, key: str) -> str:
    """The name, shortened if it is long, with eight digits that another key has not."""
    return f"{name[: _NAME - 9].rstrip('/')}_{hashlib.sha256(key.encode()).hexdigest()[:8]}"


@contextlib.contextmanager
def _alone_in(uri: str) -> Iterator[None]:
    """Of rows that are trained at once, one at a time looks for an experiment in a folder, and creates it."""
    if not uri.startswith("file:"):
        yield
        return
    folder = Path(unquote(urlsplit(uri).path))
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".genprior.lock", timeout=60):
        yield
