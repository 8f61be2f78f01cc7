"""The scoring benchmark compares like with like: both candidates see the same images and find the same scores."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch_fidelity
import torch_fidelity.feature_extractor_inceptionv3 as upstream
from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def speed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(BENCHMARKS)
    import scoring_speed

    yield scoring_speed


class Counted(upstream.BasicConv2d):
    """A first layer that notes how many images it sees."""

    seen = 0

    def forward(self, x: Any) -> Any:
        Counted.seen += len(x)
        return super().forward(x)


class Small(torch_fidelity.FeatureExtractorBase):
    """Torch-fidelity's network with two layers before the last, 12 features and 7 classes."""

    def __init__(self, name: str, features_list: Any, feature_extractor_weights_path: Any = None, **kwargs: Any):
        super().__init__(name, features_list)
        self.Conv2d_1a_3x3 = Counted(3, 8, kernel_size=9, stride=29)
        self.Mixed_5b = upstream.BasicConv2d(8, 12, kernel_size=1)
        self.AvgPool = torch.nn.AdaptiveAvgPool2d(1)
        self.fc = torch.nn.Linear(12, 7)
        self.requires_grad_(False)
        self.eval()
        if feature_extractor_weights_path is not None:
            self.load_state_dict(torch.load(feature_extractor_weights_path))

    def forward(self, x: Any) -> Any:
        x = upstream.interpolate_bilinear_2d_like_tensorflow1x(x.float(), size=(299, 299), align_corners=False)
        x = self.AvgPool(self.Mixed_5b(self.Conv2d_1a_3x3((x - 128) / 128))).flatten(1)
        found = {"2048": x, "logits_unbiased": 5 * x @ (self.fc.weight.T / 5)}
        return tuple(found[name] for name in self.features_list)

    get_provided_features_list = staticmethod(upstream.FeatureExtractorInceptionV3.get_provided_features_list)
    get_default_feature_layer_for_metric = staticmethod(
        upstream.FeatureExtractorInceptionV3.get_default_feature_layer_for_metric
    )


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Let both candidates use the small network; the file of its weights."""
    monkeypatch.setattr(upstream, "FeatureExtractorInceptionV3", Small)
    monkeypatch.setitem(FEATURE_EXTRACTORS_REGISTRY, "inception-v3-compat", Small)
    torch.manual_seed(0)
    network = Small("small", ["2048", "logits_unbiased"])
    for layer in (network.Conv2d_1a_3x3, network.Mixed_5b):
        torch.nn.init.kaiming_normal_(layer.conv.weight)
    network.fc.weight *= 30
    path = tmp_path / "small.pth"
    torch.save(network.state_dict(), path)
    return path


def test_both_find_the_same_scores_and_see_what_is_kept_only_once(speed: Any, small: Path, tmp_path: Path) -> None:
    generated, real = speed.pictures(60, seed=1), speed.pictures(50, seed=2, contrast=0.5)
    found = {}
    for name, score in speed.CANDIDATES.items():
        counts = []
        for _ in range(2):
            Counted.seen = 0
            found[name] = score(generated, real, small, tmp_path / name)
            counts.append(Counted.seen)
        assert counts == [110, 60], name  # with nothing kept each image once, and then only the generated ones
    ours, theirs = found["genprior"], found["torch-fidelity"]
    assert theirs.inception_score > 1.05 and theirs.fid > 0.01
    assert ours.inception_score == pytest.approx(theirs.inception_score, rel=1e-5)
    assert ours.fid == pytest.approx(theirs.fid, rel=1e-4)
    other = speed.CANDIDATES["genprior"](real[:40], generated, small, tmp_path / "other")
    assert speed.largest_difference(other, theirs) > 1e-3


def test_images_are_reproducible_and_differ(speed: Any) -> None:
    images = speed.pictures(5, seed=1)
    assert images.shape == (5, 3, 32, 32) and images.dtype == torch.uint8
    assert torch.equal(images, speed.pictures(5, seed=1))
    assert not torch.equal(images, speed.pictures(5, seed=2))
    # Neighbouring pixels are alike, as those of noise are not.
    x = images.double() - images.double().mean()
    assert (x[..., 1:] * x[..., :-1]).mean() > 0.5 * x.square().mean()


def test_the_random_network_keeps_the_scale_of_activations(speed: Any, tmp_path: Path) -> None:
    speed.make_weights(tmp_path / "weights.pth")
    network = upstream.FeatureExtractorInceptionV3(
        "", ["2048", "logits_unbiased"], feature_extractor_weights_path=tmp_path / "weights.pth"
    )
    features, logits = network(speed.pictures(4, seed=9))
    assert 0.05 < features.mean() < 5
    assert 0.5 < logits.std(0).mean() < 8  # 2 where batch norm took its statistics


def result(speed: Any, difference: float) -> dict[str, Any]:
    seconds = {"genprior": {"empty": [2.0, 4.0], "kept": [1.0, 1.0]}}
    seconds["torch-fidelity"] = {"empty": [6.0, 4.0], "kept": [2.0, 5.0]}
    return {
        "images": 100,
        "rounds": 2,
        "device": "cpu",
        "seconds": seconds,
        "ratios": {cache: speed.ratios(seconds, cache) for cache in speed.WHAT},
        "parts": {"fid": {"genprior": 0.5, "torch-fidelity": 2.0}},
        "scores": {name: {"inception_score": 2.5, "fid": 10.0} for name in speed.CANDIDATES},
        "largest_difference": difference,
    }


def test_ratios_are_taken_within_a_round(speed: Any) -> None:
    table = speed.tables(result(speed, 1e-6))
    assert "| IS and FID, nothing kept | 3.0 s | 5.0 s | 2.00 [1.50, 2.50] | >= 1.4 |" in table
    assert "| IS and FID, features of real images kept | 1.0 s | 3.5 s | 3.50 [2.75, 4.25] | >= 1.4 |" in table
    assert "| FID of the features | 500.0 ms | 2000.0 ms | 4.00 | - |" in table
    assert "| genprior | 2.500000 | 10.000000 |" in table
    assert "1.0e-06, within 0.001" in table


def test_a_difference_is_a_share_of_what_is_above_one(speed: Any) -> None:
    one = speed.Scores(2.0, 0.1)
    assert speed.largest_difference(one, speed.Scores(2.0, 0.15)) == pytest.approx(0.05)
    assert speed.largest_difference(one, speed.Scores(4.0, 0.1)) == pytest.approx(0.5)


def test_scores_that_differ_fail_the_benchmark(speed: Any, monkeypatch: Any, capsys: Any) -> None:
    for difference, status in ((1e-5, 0), (0.01, 1)):
        monkeypatch.setattr(speed, "measure", lambda *a, d=difference, **k: result(speed, d))
        assert speed.main(["--images", "100"]) == status
    assert "1.0e-02, MORE THAN 0.001" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--images", "10"], "--images is 10, and ten splits"), (["--rounds", "0"], "--rounds is 0; at least one round")],
)
def test_too_little_is_refused(speed: Any, arguments: list[str], message: str, capsys: Any) -> None:
    with pytest.raises(SystemExit) as caught:
        speed.main(arguments)
    assert caught.value.code == 2 and message in capsys.readouterr().err


@pytest.mark.slow
def test_the_command_line_measures_the_whole_network(tmp_path: Path) -> None:
    command = [
        sys.executable,
        str(BENCHMARKS / "scoring_speed.py"),
        "--images",
        "20",
        "--out",
        str(tmp_path / "s.json"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "s.json").read_text())
    assert found["largest_difference"] <= 1e-3
    for cache in ("empty", "kept"):
        both = [found["seconds"][name][cache][0] for name in ("torch-fidelity", "genprior")]
        assert found["ratios"][cache] == [pytest.approx(both[0] / both[1])]
    assert set(found["parts"]) == {"resize", "network", "fid"}
