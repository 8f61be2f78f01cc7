"""What `genprior bench` refuses, and its messages."""

from __future__ import annotations

import shutil

import pytest

from genprior.bench.requests import refuse_samples
from genprior_std.scores.parzen import Parzen
from genprior_std.scores.style_consistency import StyleConsistency

from .tables import DIGITS, PARZEN, noise, png_folder, refused, unfinished, unscored


@pytest.mark.parametrize(
    ("score", "message"),
    [
        ("inception_score", "samples with splits = 10, which needs at least 10"),
        ("kid", "samples with subset_size = 1000, which needs at least 1000"),
        ('{ name = "precision_recall", neighborhood = 8 }', "neighborhood = 8, which needs at least 9"),
    ],
)
def test_fewer_samples_than_a_score_can_do_with(small, call, score, message):
    said = refused(call, small / "runs", "--score", score, "--samples", "8")
    assert "is asked of 8 samples" in said and message in said and "raise --samples" in said


def test_a_score_without_a_number_of_samples_has_none_to_change(small, call):
    said = refused(call, small / "runs", "--score", "style_consistency", "--samples", "10")
    assert said == (
        "error: --samples 10 is not possible for score 'style_consistency', whose settings are noises = 500: there is "
        "no number of samples. Leave --samples out, or give settings, such as --score '{ name = \"...\", ... }'\n"
    )
    configs = [StyleConsistency.Config(noises=7), Parzen.Config()]
    assert refuse_samples(configs, 10) == [
        "--samples 10 has no effect on score 'style_consistency', whose settings are noises = 7."
    ]
    assert refuse_samples(configs[1:], 10) == refuse_samples([], 10) == []


def test_fewer_images_than_samples_are_refused_where_nothing_else_is_measured(call, tmp_path):
    few = png_folder(tmp_path / "few", noise(50))
    said = refused(call, few, "--score", PARZEN, "--data", DIGITS)
    few = "few: score 'parzen': there are 50 images, and it takes 60; give it more, or --samples 50"
    assert f"nothing could be measured:\n  {few}" in said


def test_runs_without_a_checkpoint_or_an_end(copy, call):
    for folder in unscored(copy).rglob("checkpoints"):
        shutil.rmtree(folder)
    said = refused(call, copy, "--score", PARZEN)
    assert "nothing could be measured" in said and "has no checkpoint to sample from; train it again" in said
    for run in copy.glob("*/seed-*"):
        unfinished(run)
    said = refused(call, copy, "--score", PARZEN)
    assert "there is no finished run in" in said and "(trained 2 of 4 steps)" in said


@pytest.mark.parametrize(
    ("option", "text", "message"),
    [
        ("--score", "parzn", "no run here has the score 'parzn'; did you mean 'parzen'?"),
        ("--score", "{ name = ", "this is not a TOML table"),
        ("--score", '{ name = "parzn" }', "there is no score named 'parzn'; did you mean 'parzen'?"),
        ("--score", '{ name = "fid", sampels = 3 }', "sampels: unknown key 'sampels'; did you mean 'samples'?"),
        (
            "--data",
            "digit",
            "is neither a data set nor an existing recipe, folder or .npz file; did you mean 'digits'?",
        ),
        ("--data", "folder", "data set 'folder' has required settings (path: Field required)"),
        ("--data", '{ name = "digits", size = 0 }', "size: input should be greater than or equal to 1; got 0"),
    ],
)
def test_scores_and_data_that_do_not_exist(small, call, option, text, message):
    assert message in refused(call, small / "runs", option, text)


def test_options_that_nothing_uses_are_refused(small, call):
    said = refused(call, small / "runs", "--score", PARZEN, "--data", "digits")
    assert said == (
        "error: --data digits has no effect on runs, which are compared with the images that they were trained on. "
        "Leave it out, or give a folder or .npz file of images: genprior sample RUN --to FILE.npz draws them\n"
    )
    said = refused(call, small / "runs", "--score", PARZEN, "--with", "quick", "--set", "run.steps=3")
    assert said == (
        "error: --with quick, --set run.steps=3 without effect: no recipe is given here, and a run has the settings "
        "that it was trained with. Leave this out, or give the recipe in the place of its runs\n"
    )
