"""The same numbers as torch-fidelity's own command."""

from __future__ import annotations

import json

import pytest
import torch

from .small_inception import Small, stand_in, weights
from .tables import noise, png_folder, table_of


def two_folders(tmp_path, n):
    """Smooth random images in two folders, the second ones brighter and somewhat more alike."""
    found = []
    for name, seed, gain, shift in (("made", 1, 1.0, 0), ("real", 2, 0.8, 50)):
        coarse = torch.nn.functional.interpolate(noise(n, 3, 4, seed).float(), 16, mode="bilinear")
        found.append(png_folder(tmp_path / name, (coarse * gain + shift).clamp(0, 255).to(torch.uint8)))
    return found


def benched(call, tmp_path, made, real, path, n):
    shared = f'samples = {n}, weights = "{path}"'
    scores = [
        f'{{ name = "inception_score", splits = 3, {shared} }}',
        f'{{ name = "fid", {shared} }}',
        f'{{ name = "kid", subsets = 7, subset_size = {n // 2}, {shared} }}',
        f'{{ name = "precision_recall", neighborhood = 3, {shared} }}',
    ]
    table, _ = table_of(
        call, tmp_path, made, "--data", real, *(each for score in scores for each in ("--score", score))
    )
    (row,) = table["rows"]
    assert row["empty"] == {}
    return {key: cell["mean"] for key, cell in row["scores"].items()}


PAIRS = {
    "inception_score": "inception_score_mean",
    "inception_score_std": "inception_score_std",
    "fid": "frechet_inception_distance",
    "kid": "kernel_inception_distance_mean",
    "kid_std": "kernel_inception_distance_std",
    "precision": "precision",
    "recall": "recall",
}


def test_two_folders_score_as_torch_fidelity_scores_them(call, tmp_path, monkeypatch):
    """All four scores, with a small network in the place of Inception on both sides."""
    import torch_fidelity
    from torch_fidelity.feature_extractor_base import FeatureExtractorBase

    class Registered(FeatureExtractorBase):
        def __init__(self, name, features_list, **settings):
            super().__init__(name, features_list)
            self.inner = Small(name, features_list, **settings)

        def forward(self, x):
            return self.inner(x)

        @staticmethod
        def get_provided_features_list():
            return "2048", "logits_unbiased"

        @staticmethod
        def get_default_feature_layer_for_metric(metric):
            return "logits_unbiased" if metric == "isc" else "2048"

        @staticmethod
        def can_be_compiled():
            return False

    stand_in(monkeypatch)
    monkeypatch.setitem(torch_fidelity.registry.FEATURE_EXTRACTORS_REGISTRY, "small-for-bench", Registered)
    n = 60
    (made, real), path = two_folders(tmp_path, n), weights(tmp_path / "small.pth", 3)
    ours = benched(call, tmp_path, made, real, path, n)
    theirs = torch_fidelity.calculate_metrics(
        input1=str(made), input2=str(real), cuda=False, isc=True, fid=True, kid=True, prc=True, isc_splits=3,
        kid_subsets=7, kid_subset_size=n // 2, prc_neighborhood=3, feature_extractor="small-for-bench",
        feature_extractor_weights_path=str(path), save_cpu_ram=True, cache=False, verbose=False,
    )  # fmt: skip
    # torch-fidelity keeps features in single precision, and genprior goes on in double.
    for key, name in PAIRS.items():
        assert ours[key] == pytest.approx(theirs[name], rel=1e-4, abs=1e-6), key
    assert 0 < ours["precision"] < 1 and ours["fid"] > 0.01 and ours["inception_score"] > 1.01


@pytest.mark.slow
def test_two_folders_score_as_the_command_fidelity_scores_them(call, tmp_path, monkeypatch):
    """torch-fidelity's command line and its whole Inception network, with random weights."""
    import subprocess
    import sys

    import torch_fidelity.feature_extractor_inceptionv3 as upstream

    monkeypatch.setattr(upstream, "load_state_dict_from_url", lambda *args, **kwargs: {})
    monkeypatch.setattr(upstream.FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
    network = upstream.FeatureExtractorInceptionV3("inception-v3-compat", ["2048", "logits_unbiased"], verbose=False)
    monkeypatch.undo()
    monkeypatch.setenv("GENPRIOR_DATA", str(tmp_path / "cache"))
    path, n = tmp_path / "random.pth", 24
    torch.save(network.state_dict(), path)
    made, real = two_folders(tmp_path, n)
    options = {
        "--input1": made, "--input2": real, "--feature-extractor": "inception-v3-compat", "--isc-splits": 3,
        "--feature-extractor-weights-path": path, "--kid-subsets": 7, "--kid-subset-size": n // 2,
        "--prc-neighborhood": 3, "--batch-size": 8,
    }  # fmt: skip
    done = subprocess.run(
        [
            sys.executable, "-m", "torch_fidelity.fidelity", "--cpu", "--json", "--isc", "--fid", "--kid", "--prc",
            "--no-cache", "--silent", "--save-cpu-ram", *(str(each) for pair in options.items() for each in pair),
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    theirs = json.loads(done.stdout)
    ours = benched(call, tmp_path, made, real, path, n)
    # Batches of another size move features in the seventh digit; FID takes a square root of a matrix of low rank.
    for key, name in PAIRS.items():
        assert ours[key] == pytest.approx(theirs[name], rel=2e-3, abs=1e-6), key
