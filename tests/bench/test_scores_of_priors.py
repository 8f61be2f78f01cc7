"""Scores that isolate the prior, of runs and of folders of images, and what a folder lacks for them."""

from __future__ import annotations

import pytest
import torch

from genprior_std.datasets.digits import Digits

from .tables import DIGITS, ROWS, noise, png_folder, refused, row_of, table_of

FID = '{ name = "fid", extractor = "random", samples = 60 }'
GAP = '{ name = "reconstruction_fid", extractor = "random", samples = 60 }'
CODES = '{ name = "code_mmd", images = 60, permutations = 20 }'
NEAREST = '{ name = "memorisation", extractor = "pixels", samples = 50 }'
COVERED = '{ name = "density_coverage", extractor = "random", samples = 50 }'


def test_runs_have_all_of_them(small, call, tmp_path):
    options = [option for score in (FID, GAP, CODES, NEAREST, COVERED) for option in ("--score", score)]
    table, _ = table_of(call, tmp_path, small / "runs", *options)
    assert [column["key"] for column in table["columns"]] == [
        "random_features_fid",
        "random_features_reconstruction_fid",
        "random_features_prior_gap",
        "code_mmd",
        "code_mmd_deviations",
        "pixel_memorisation_ratio",
        "pixel_authenticity",
        "random_features_density",
        "random_features_coverage",
    ]
    for label in ROWS:
        means = {key: value["values"] for key, value in row_of(table, label)["scores"].items()}
        for gap, samples, reconstructions in zip(
            means["random_features_prior_gap"],
            means["random_features_fid"],
            means["random_features_reconstruction_fid"],
            strict=True,
        ):
            assert gap == pytest.approx(samples - reconstructions, rel=1e-9)


def test_copies_in_a_folder_show(call, tmp_path):
    """Half of these images are training images, the others are noise; nobody says so."""
    train = Digits.Config(size=8, validation=60).make().load("train").images
    mixed = png_folder(tmp_path / "mixed", torch.cat([train[:30], noise(20)]))
    alone = png_folder(tmp_path / "alone", noise(50))
    table, _ = table_of(call, tmp_path, mixed, alone, "--data", DIGITS, "--score", NEAREST, "--score", COVERED)
    found, of_noise = (
        {key: value["mean"] for key, value in row_of(table, label)["scores"].items()} for label in ("mixed", "alone")
    )
    assert found["pixel_authenticity"] == 20 / 50 and found["pixel_memorisation_ratio"] == 0
    assert of_noise["pixel_authenticity"] == 1 < of_noise["pixel_memorisation_ratio"]
    for key in ("random_features_density", "random_features_coverage"):
        assert of_noise[key] < found[key]


def test_a_folder_of_real_images_has_no_held_out_ones(call, tmp_path):
    mine, theirs = png_folder(tmp_path / "mine", noise(50)), png_folder(tmp_path / "theirs", noise(60, seed=1))
    table, _ = table_of(call, tmp_path, mine, "--data", theirs, "--score", NEAREST, "--score", COVERED)
    row = row_of(table, "mine")
    assert {"pixel_authenticity", "random_features_density"} <= row["scores"].keys()
    assert "pixel_memorisation_ratio" not in row["scores"]
    text = (tmp_path / "out" / "table.md").read_text(encoding="utf-8")
    assert "it compares with held-out images, and there are none beside the reference" in text


@pytest.mark.parametrize("score", [GAP, CODES])
def test_images_alone_have_neither_codes_nor_reconstructions(call, tmp_path, score):
    made = png_folder(tmp_path / "made", noise(60))
    said = refused(call, made, "--data", DIGITS, "--score", score)
    assert "this score needs the model, but there are only images" in said
