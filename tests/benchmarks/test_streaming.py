"""The benchmark of streamed images reads the same images in each way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import genprior
from genprior_std.parts import PARTS

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def streaming(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.setenv("GENPRIOR_DATA", str(tmp_path / "cache"))
    import streaming

    return streaming


def test_all_ways_of_reading_give_the_same_images(streaming: Any, tmp_path: Path) -> None:
    streaming.make_pictures(tmp_path, 60, 24, 20, a_shard=25)
    configs = {part.name: part.Config for part in PARTS if part.kind == "dataset"}
    ways = streaming.sources(tmp_path, 16)
    sets = {way: configs[table["name"]](**table).make().load("train") for way, table in ways.items()}
    assert len(sets) == 6 and len({len(found.images) for found in sets.values()}) == 1
    assert sum(isinstance(found.images, genprior.StreamedImages) for found in sets.values()) == 5
    for found in sets.values():
        assert torch.equal(found.images, sets["in memory"].images)


def test_too_few_pictures_are_refused(streaming: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        streaming.main(["--images", "100"])
    assert "--images 100 is less than two batches; at least 128 are needed" in capsys.readouterr().err
