"""`genprior bench` measures what is missing, once, as training measures it."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

import genprior.bench.rescore
from genprior.bench.bench import Bench

from .small_inception import stand_in, weights
from .tables import PARZEN, ROWS, noise, png_folder, refused, row_of, table_of, unscored, values


def test_a_score_that_runs_lack_is_measured_as_training_measures_it(small, copy, call, tmp_path):
    table, _ = table_of(call, tmp_path, unscored(copy), "--score", PARZEN)
    found = {row["label"]: row["scores"]["parzen"]["values"] for row in table["rows"]}
    expected = values(small / "runs")
    assert found.keys() == expected.keys() == set(ROWS)
    for label in ROWS:
        assert found[label] == pytest.approx(expected[label], rel=1e-9)
        assert row_of(table, label)["seeds"] == [0, 1]
    # One score alone ranks: the likelier row stands first.
    assert [row["label"] for row in table["rows"]] == sorted(ROWS, key=lambda label: -np.mean(expected[label]))


def test_a_number_is_computed_once_wherever_the_run_lies(small, copy, call, tmp_path, monkeypatch):
    first, _ = table_of(call, tmp_path, unscored(copy), "--score", PARZEN)
    moved = copy.rename(tmp_path / "moved")

    def never(*args, **kwargs):
        raise AssertionError("it was measured a second time")

    monkeypatch.setattr(genprior.bench.rescore, "generate", never)
    assert table_of(call, tmp_path, moved, "--score", PARZEN)[0]["rows"] == first["rows"]
    # Other settings, or another run, are another number.
    with pytest.raises(AssertionError, match="second time"):
        Bench([moved], scores=[PARZEN.replace("= 60", "= 70")]).table()


def test_what_training_measured_is_not_measured_again(small, call, monkeypatch):
    monkeypatch.setattr(genprior.bench.rescore.Scorer, "of_run", None)
    table = Bench([small / "runs"], scores=["parzen"]).table().table
    assert {row.label: list(row.scores["parzen"].values) for row in table.rows} == values(small / "runs")


def test_another_number_of_samples_is_another_column_or_measured_for_all(small, call, tmp_path):
    table, _ = table_of(call, tmp_path, small / "runs", "--samples", "40")
    assert [column["key"] for column in table["columns"]] == ["parzen"]
    assert table["protocols"]["parzen"].startswith("40 samples, validation 50, real images: digits (")
    both, shown = table_of(
        call, tmp_path, small / "runs", "--score", "parzen", "--score", PARZEN.replace("= 60", "= 40")
    )
    assert [column["key"] for column in both["columns"]] == ["parzen", "parzen@2"]
    for label in ROWS:
        got = row_of(both, label)["scores"]
        assert got["parzen"]["values"] == values(small / "runs")[label]
        assert got["parzen@2"]["values"] == row_of(table, label)["scores"]["parzen"]["values"]
    assert "'parzen' was measured with 2 protocols that cannot be compared" in shown


def test_a_corrupt_result_is_measured_anew(copy, call, tmp_path, caches):
    first, _ = table_of(call, tmp_path, unscored(copy), "--score", PARZEN)
    kept = list((caches / "scores").glob("*.json"))
    assert len(kept) == 4
    for path in kept:
        path.write_text("{")
    assert table_of(call, tmp_path, copy, "--score", PARZEN)[0]["rows"] == first["rows"]


def test_weights_of_other_content_are_another_network(tmp_path, monkeypatch, small, call):
    """The same settings with a file that changed in between, and one file under two paths."""
    stand_in(monkeypatch)
    folder = png_folder(tmp_path / "made", noise(30, 3))
    keys = []
    for place, seed in enumerate([1, 2]):
        path = weights(tmp_path / f"{place}.pth", seed)
        shutil.copy(path, tmp_path / "current.pth")
        score = f'{{ name = "fid", samples = 20, weights = "{tmp_path / "current.pth"}" }}'
        table, _ = table_of(call, tmp_path, folder, "--score", score, "--data", folder)
        keys.append(table["protocols"]["fid"])
    assert keys[0] != keys[1] and all("network inception-v3-compat-" in key for key in keys)
    same = f'{{ name = "fid", samples = 20, weights = "{tmp_path / "1.pth"}" }}'
    assert table_of(call, tmp_path, folder, "--score", same, "--data", folder)[0]["protocols"]["fid"] == keys[1]


def test_a_network_that_cannot_be_had_is_asked_for_once_and_its_reason_told(small, call, monkeypatch, tmp_path):
    asked = []

    def none(*args, **kwargs):
        asked.append(args)
        raise OSError("no route to host")

    monkeypatch.setattr("torch.hub.load_state_dict_from_url", none)
    said = refused(call, small / "runs", "--score", "fid", "--samples", "20")
    assert len(asked) == 1
    assert f"{ROWS[0]}, {ROWS[1]}: score 'fid': the Inception weights cannot be downloaded (no route to host)" in said
    table, _ = table_of(call, tmp_path, small / "runs", "--score", "parzen", "--score", "fid")
    assert table["rows"][0]["empty"]["fid"].startswith("the Inception weights cannot be downloaded")
    assert table["rows"][0]["scores"]["parzen"]["values"] == values(small / "runs")["AAE"]
