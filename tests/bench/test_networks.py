"""Scores of features name the network that they are of, and numbers of two networks have separate columns."""

from __future__ import annotations

import json

from genprior.runs.run import load_run

from .tables import table_of


def test_training_records_the_network_of_each_score(small, call, tmp_path):
    scores = 'scores=[{ name = "fid", extractor = "random", samples = 60 }, { name = "parzen", samples = 60 }]'
    out = tmp_path / "runs"
    result = call("train", small / "small.toml", "--rows", "AAE", "--seeds", 0, "--set", scores, "--out", out)
    assert result.exit_code == 0, result.output
    written = json.loads((out / "AAE" / "seed-0" / "scores.json").read_text(encoding="utf-8"))
    (key, network), *others = written["networks"].items()
    assert (key, others) == ("random_features_fid", []) and network.startswith("random-features-1-seed-")
    run = load_run(out / "AAE" / "seed-0")
    assert run.networks == written["networks"] and "networks" not in run.scores
    table, _ = table_of(call, tmp_path, out, "--score", "fid")
    assert f"network {network}, " in table["protocols"]["random_features_fid"]


def test_numbers_of_two_networks_never_share_a_column(small, copy, call, tmp_path):
    for place, folder in enumerate(sorted(copy.iterdir())[:2]):
        for path in folder.glob("seed-*/scores.json"):
            more = {"networks": {"parzen": f"classifier-{place}"}}
            path.write_text(json.dumps(json.loads(path.read_text()) | more))
    table, _ = table_of(call, tmp_path, copy)
    assert [column["key"] for column in table["columns"]] == ["parzen", "parzen@2"]
    assert ["parzen" in row["scores"] for row in table["rows"]] == [True, False]
    assert ["parzen@2" in row["scores"] for row in table["rows"]] == [False, True]
    assert table["differences"] == {} and "features of classifier-1" in table["notes"][0]


def test_a_damaged_name_of_a_network_is_told(copy, call):
    path = next(iter(copy.glob("AAE/seed-0/scores.json")))
    path.write_text(json.dumps(json.loads(path.read_text()) | {"networks": {"parzen": 3}}))
    result = call("show", copy)
    assert result.exit_code == 2 and "Traceback" not in result.output
    assert result.stderr == (
        f"error: {path} is damaged (networks.parzen: Input should be a valid string); the training command of the run "
        "measures the scores anew\n"
    )
