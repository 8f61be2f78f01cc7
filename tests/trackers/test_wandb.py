"""Runs of Weights & Biases, offline: the file that `wandb sync` uploads, read by the library's own messages."""

from __future__ import annotations

import json
import struct

import pytest

from genprior.testing import check_hook
from genprior_std.hooks.wandb import WeightsAndBiases

wandb = pytest.importorskip("wandb", reason="needs the extra `wandb`")

BLOCK, HEADER = 32768, 7


def records(path):
    """The messages of a transaction log, whose frames are those of LevelDB's log after a header of seven bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, place, message = path.read_bytes(), HEADER, b""
    while place + HEADER <= len(data):
        if BLOCK - place % BLOCK < HEADER:
            place += BLOCK - place % BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", data[place : place + HEADER])
        message += data[place + HEADER : place + HEADER + length]
        place += HEADER + length
        if kind in (1, 4):
            yield Record.FromString(message)
            message = b""


@pytest.fixture(scope="module", autouse=True)
def _service():
    """The library's process ends with the tests of this module."""
    yield
    wandb.teardown()


def test_an_interrupted_run_is_one_run_with_each_step_once(interrupted) -> None:
    run = interrupted("wandb", 'project="digits"')
    logs = sorted((run.trainer.folder / "wandb").glob("offline-run-*/run-*.wandb"), key=lambda p: p.stat().st_mtime_ns)
    assert len(logs) == 2
    told = [record for log in logs for record in records(log)]
    numbers, grids = {}, []
    for record in told:
        if record.WhichOneof("record_type") != "history":
            continue
        line = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
        if "samples/width" in line:
            grids.append((line["step"], line["samples/width"], line["samples/height"]))
            continue
        for key, value in line.items():
            if not key.startswith("_") and key not in ("step", "seconds"):
                numbers.setdefault(key, []).append((line["step"], value))
    assert numbers == {key: [(s, pytest.approx(v, rel=1e-12)) for s, v in row] for key, row in run.numbers.items()}
    assert grids == [(3, 42, 12), (6, 42, 12)]

    own = json.loads((run.trainer.folder / "wandb" / "tracked.json").read_text())["id"]
    runs = [record.run for record in told if record.WhichOneof("record_type") == "run"]
    assert len(runs) >= 2
    for each in runs:
        assert (each.run_id, each.project, each.display_name, each.run_group) == (own, "digits", "AAE seed 0", "tiny")
        assert sorted(each.tags) == ["recipe: tiny", "row: AAE", "seed: 0"]
        config = {item.key: json.loads(item.value_json) for item in each.config.update}
        assert config["model"]["prior"]["name"] == "gaussian" and config["seed"] == 0


def test_the_contract_of_hooks(tmp_path) -> None:
    check_hook(WeightsAndBiases.Config(folder=tmp_path, entity="me", samples=4))
