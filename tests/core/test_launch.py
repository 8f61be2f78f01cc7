"""Rows in this process and in parallel: the same runs, and a failing row stops no other."""

from __future__ import annotations

import json

import pytest
from safetensors.torch import load_file

import genprior
from genprior.errors import GenpriorError, NotFinite, RecipeError
from genprior.launch.preflight import preflight
from genprior.launch.reporter import Reporter
from genprior.runs.trainer import Trainer

pytestmark = pytest.mark.usefixtures("no_curves")


class Heard(Reporter):
    def __init__(self):
        self.events = []

    def planned(self, jobs):
        self.events.append(("planned", [job.name for job in jobs]))

    def finished(self, job, scores):
        self.events.append(("finished", job.name))

    def failed(self, job, error):
        self.events.append(("failed", job.name, type(error)))


def weights(folder):
    return load_file(sorted(folder.glob("checkpoints/*.safetensors"))[-1])


def test_rows_side_by_side_are_the_rows_one_after_another(tiny, tmp_path):
    no_pictures = "run.hooks.pictures.enabled=false"  # workers would import what draws them
    recipe = genprior.load_recipe(tiny, seeds=[0, 1], settings=[no_pictures])
    heard = Heard()
    table = genprior.train(recipe, out=tmp_path / "two", jobs=2, reporter=heard)
    genprior.train(recipe, out=tmp_path / "one")
    names = ["AAE seed 0", "A+B+C seed 0", "AAE seed 1", "A+B+C seed 1"]
    assert heard.events[0] == ("planned", names)
    assert sorted(name for kind, name in heard.events[1:] if kind == "finished") == sorted(names)
    assert [(row.label, row.seeds) for row in table.rows] == [("AAE", (0, 1)), ("A+B+C", (0, 1))]
    for label in ("AAE", "A+B+C"):
        for seed in (0, 1):
            two, one = (weights(tmp_path / jobs / label / f"seed-{seed}") for jobs in ("two", "one"))
            assert all((two[key] == one[key]).all() for key in one)


def test_the_table_is_written_in_every_form(tiny, tmp_path):
    recipe = genprior.load_recipe(tiny)
    genprior.train(recipe, rows=["AAE"], out=tmp_path)
    assert {"table.json", "table.md", "table.html", "rows.png"} <= {p.name for p in tmp_path.iterdir()}
    read = json.loads((tmp_path / "table.json").read_text())
    assert [(row["label"], row["seeds"], row["scores"]) for row in read["rows"]] == [("AAE", [0], {})]


@pytest.mark.parametrize("error", [NotFinite("row 'AAE' exploded"), ZeroDivisionError("a plugin's bug")])
def test_a_row_that_fails_stops_no_other_row(error, tiny, tmp_path, monkeypatch):
    run = Trainer.run

    def sabotaged(self, until=None):
        if self.plan.label == "AAE":
            raise error
        return run(self, until)

    monkeypatch.setattr(Trainer, "run", sabotaged)
    heard = Heard()
    with pytest.raises(type(error)):
        genprior.train(genprior.load_recipe(tiny), out=tmp_path, reporter=heard)
    assert heard.events[1:] == [("failed", "AAE", type(error)), ("finished", "A+B+C")]
    read = json.loads((tmp_path / "table.json").read_text())
    assert [row["label"] for row in read["rows"]] == ["A+B+C"]
    assert read["missing"] == ["AAE/seed-0"]


def test_mistakes_of_parts_leave_no_folder(tiny, tmp_path):
    recipe = genprior.load_recipe(tiny, settings=["model.improves.prior=true"])
    with pytest.raises(RecipeError, match="'gaussian' has no parameters"):
        genprior.train(recipe, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_preflight_leaves_the_generators_as_they_were(tiny):
    import torch

    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    preflight(genprior.load_recipe(tiny))
    assert torch.equal(torch.rand(3), expected)


def test_unknown_rows_are_refused_with_the_nearest(tiny, tmp_path):
    with pytest.raises(GenpriorError, match=r"there is no row 'A\+B'; did you mean 'A\+B\+C'\?"):
        genprior.train(genprior.load_recipe(tiny), rows=["A+B"], out=tmp_path)
