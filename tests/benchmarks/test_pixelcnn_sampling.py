"""The sampling benchmark: both ways draw the same images, and the table says what was measured and what was not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from genprior.parts import Sizes
from genprior_std.networks.pixelcnn_decoder import PixelCnnDecoder

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
TINY = ["--width", "4", "--blocks", "1", "--side", "8"]


@pytest.fixture
def sampling(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(BENCHMARKS)
    import pixelcnn_sampling

    yield pixelcnn_sampling


def test_both_ways_draw_the_same_images(sampling: Any) -> None:
    torch.manual_seed(1)
    decoder = PixelCnnDecoder.Config(width=4, head_width=4, blocks=1).make(Sizes((1, 8, 8), 3, 0, 0)).double()
    z, known = torch.randn(5, 3, dtype=torch.float64), torch.empty(5, 0, dtype=torch.float64)
    uniforms = torch.rand(5, 1, 8, 8, dtype=torch.float64)
    cached = decoder.sample(z, known, uniforms)
    assert torch.equal(sampling.pixels_plainly(decoder, z, known, uniforms, 64), cached)
    assert 0 < (cached > 0).double().mean() < 1
    few = sampling.pixels_plainly(decoder, z, known, uniforms, 11)
    assert torch.equal(few.flatten(1)[:, :11], cached.flatten(1)[:, :11])
    assert not few.flatten(1)[:, 11:].any()


def test_the_command_line_measures_and_writes(sampling: Any, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "sampling.json"
    arguments = [*TINY, "--images", "2", "--passes", "2", "--rounds", "3", "--out", str(out)]
    assert sampling.main(arguments) == 0
    result = json.loads(out.read_text())
    assert result["setting"] == {"width": 4, "blocks": 1, "side": 8, "images": 2, "passes": 2, "rounds": 3}
    assert result["facts"]["torch"] == torch.__version__
    assert len(result["cached"]) == len(result["plain_pass"]) == 3
    assert min(result["cached"] + result["plain_pass"]) > 0
    assert capsys.readouterr().out == sampling.line(result) + "\n"


def test_there_are_no_more_passes_than_pixels(sampling: Any) -> None:
    assert sampling.measure(4, 1, 2, 2, passes=100, rounds=1)["setting"]["passes"] == 4


def test_the_time_of_all_pixels_is_that_of_a_pass_times_their_number(sampling: Any) -> None:
    result = {
        "setting": {"width": 4, "blocks": 1, "side": 8, "images": 2, "passes": 5, "rounds": 3},
        "facts": {"torch": "9.9", "processor": "abacus"},
        "cached": [2.0, 4.0, 100.0],
        "plain_pass": [0.25, 0.5, 3.0],
    }
    assert sampling.line(result) == (
        "width 4, 1 blocks, 2 black and white images of 8 x 8, on the CPU (abacus), one thread, process CPU time, "
        "median of 3 rounds; torch 9.9; plainly is extrapolated from 5 of 64 passes\n\n"
        "| from the cache | plainly | times as fast |\n"
        "|---|---|---|\n"
        "| 4 s | 32 s | 8.0 |"
    )


@pytest.mark.parametrize("count", ["0", "-3", "two"])
def test_what_is_no_count_is_refused(count: str, sampling: Any, capsys: Any) -> None:
    with pytest.raises(SystemExit) as caught:
        sampling.main(["--images", count])
    assert caught.value.code == 2
    assert f"{count} is not a count; give 1 or more" in capsys.readouterr().err
