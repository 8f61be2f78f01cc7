"""`genprior priors`: the printed table, its files, added priors, and each error."""

from __future__ import annotations

import json
import shutil
import statistics
from pathlib import Path

import pytest
import torch
from scipy import stats

import genprior
from genprior import FittedPrior, PartConfig, Prior, RunError
from genprior.engine.fit import begin_fit
from genprior.registry import installed

from ..small_fitted import Affine, Bag
from .conftest import RECIPE

SCORE = "random_features_nearest_distance"


class Shell(Prior):
    """Codes on a sphere of a given radius."""

    name = "shell"

    class Config(PartConfig):
        """Settings."""

        radius: float = 1.0

    def sample(self, asked: torch.Tensor) -> torch.Tensor:
        """Draw codes [n, d]."""
        z = torch.randn(len(asked), self.sizes.code, dtype=asked.dtype, device=asked.device)
        return self.config.radius * z / z.norm(dim=1, keepdim=True)


class Both(FittedPrior):
    """A Gaussian that is trained with the model or fitted afterwards."""

    name = "both"
    joint = True
    closed_form = True

    def sample(self, asked: torch.Tensor) -> torch.Tensor:
        """Draw codes [n, d]."""
        return torch.randn(len(asked), self.sizes.code, dtype=asked.dtype, device=asked.device)


class Falls(Bag):
    """Fits in a rehearsal, and fails on all codes."""

    name = "falls"

    def begin_fit(self, codes) -> None:
        """Fail where the codes are those of a trained model."""
        if Falls.armed:
            raise RunError("the codes are on a line")
        super().begin_fit(codes)

    armed = False


@pytest.fixture(scope="module")
def trained(tmp_path_factory, call) -> Path:
    """The folder of a recipe, its runs and its ranking; tests only read it, or a copy."""
    home = tmp_path_factory.mktemp("priors")
    (home / "few.toml").write_text(RECIPE)
    genprior.register(Affine)
    with pytest.MonkeyPatch.context() as patch:  # pictures of curves take longer than a few small steps
        patch.setattr("genprior_std.hooks.pictures.draw_curves", lambda metrics, path: None)
        result = call("priors", home / "few.toml", "--out", home / "out", "--jobs", 1, "--device", "cpu")
    installed.cache_clear()
    assert result.exit_code == 0, result.output
    (home / "printed").write_text(result.stdout)
    return home


@pytest.fixture
def home(no_curves, trained, tmp_path) -> Path:
    """A copy of `trained`."""
    shutil.copytree(trained, tmp_path / "home")
    return tmp_path / "home"


def ranking(home: Path) -> dict:
    return json.loads((home / "out" / "priors.json").read_text())


def test_the_ranking_is_that_of_the_scores_in_the_run_folders(trained):
    found = ranking(trained)
    scores = {
        label: [
            json.loads((trained / "out" / label / f"seed-{seed}" / "scores.json").read_text())[SCORE]
            for seed in (0, 1, 2)
        ]
        for label in ("gaussian", "learned", "affine")
    }
    order = sorted(scores, key=lambda label: statistics.fmean(scores[label]))
    assert [row["label"] for row in found["rows"]] == order
    assert [row["rank"] for row in found["rows"]] == [1, 2, 3]
    assert (found["ranked_by"], found["higher_is_better"], found["reference"]) == (SCORE, False, order[0])
    assert found["rows"][0]["difference"] is None
    for row in found["rows"][1:]:
        expected = stats.ttest_rel(scores[row["label"]], scores[order[0]])
        assert row["difference"]["p"] == pytest.approx(expected.pvalue)
        worse = expected.pvalue < 0.05
        assert row["difference"]["verdict"] == ("worse" if worse else "cannot be told apart")
        assert row["scores"][SCORE]["values"] == scores[row["label"]]


def test_how_priors_are_learned_their_parameters_and_their_times(trained):
    rows = {row["label"]: row for row in ranking(trained)["rows"]}
    learned = {label: row["learned"] for label, row in rows.items()}
    assert learned == {"gaussian": "fixed", "learned": "with the model", "affine": "fitted afterwards"}
    facts = {
        label: json.loads((trained / "out" / label / "seed-0" / "run.json").read_text())
        for label in ("gaussian", "learned", "affine")
    }
    assert rows["gaussian"]["parameters"] == 0
    assert rows["learned"]["parameters"] == facts["learned"]["parameters"]["prior"] > 0
    assert rows["affine"]["parameters"] == 8  # mean and scale of 4 numbers
    both = facts["affine"]["seconds"] + facts["gaussian"]["seconds"]
    assert rows["affine"]["seconds_to_train"][0] == pytest.approx(both)
    assert rows["gaussian"]["seconds_to_train"][0] == facts["gaussian"]["seconds"]
    assert all(row["seconds_to_draw"] > 0 for row in rows.values())


def test_the_table_that_is_printed_and_written(trained):
    shown, page = (trained / "printed").read_text(), (trained / "out" / "priors.md").read_text()
    for text in (shown, page):
        assert "Few priors: priors" in text
        assert "cannot be told" in text or "worse" in text
        assert "best" in text
    header = (
        "| row | rank | prior is learned | seeds | nearest distance (random features) ↓ | difference | p (Holm) | "
        "verdict | precision (random features) ↑ | recall (random features) ↑ | parameters | s to train | s per 10,000 "
        "codes |"
    )
    assert header in page.splitlines()
    assert "Each of the 2 comparisons errs in 5 % of cases; p (Holm) is adjusted for their number." in page
    assert "the 95 % interval of the paired difference by Student's t excludes 0" in page
    assert "This rule takes each comparison alone; tables of runs adjust theirs for all rows" in page
    assert "median of 3, measured now on the CPU of this machine (" in page
    assert f"{trained / 'out' / 'priors.md'}" in shown


def test_train_and_priors_resume_each_others_runs(home, call):
    out = home / "out"
    before = {path: path.read_bytes() for path in out.glob("*/*/run.json")}
    assert call("train", home / "few.toml", "--out", out, "--jobs", 1, "--device", "cpu").exit_code == 0
    result = call("priors", home / "few.toml", "--out", out, "--jobs", 1, "--device", "cpu", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["rows"] == ranking(home)["rows"]
    assert {path: path.read_bytes() for path in out.glob("*/*/run.json")} == before


def test_another_score_ranks_in_its_own_direction(home, call):
    by = "random_features_precision"
    result = call("priors", home / "few.toml", "--out", home / "out", "--no-train", "--json", "--by", by)
    found = json.loads(result.stdout)
    assert (found["ranked_by"], found["higher_is_better"]) == (by, True)
    means = [row["scores"][by]["mean"] for row in found["rows"]]
    assert means == sorted(means, reverse=True)
    assert found["rows"][1]["difference"]["verdict"] in ("worse", "cannot be told apart")


def test_runs_of_other_settings_than_the_recipes_are_ranked_and_noted(home, call):
    arguments = ("--out", home / "out", "--no-train", "--set", "run.steps=7", "--seeds", "0")
    result = call("priors", home / "few.toml", *arguments)
    assert result.exit_code == 0
    note = "and are ranked as they are: run.steps: was 4, is 7 [row gaussian, learned, affine]."
    assert note in " ".join(result.stdout.split())
    assert note in (home / "out" / "priors.md").read_text()


def test_one_seed_is_said(home, call):
    for label in ("learned", "affine"):
        for seed in (1, 2):
            shutil.rmtree(home / "out" / label / f"seed-{seed}")
    result = call("priors", home / "few.toml", "--out", home / "out", "--no-train")
    assert result.exit_code == 0
    page = (home / "out" / "priors.md").read_text()
    rows = {row["label"]: row for row in ranking(home)["rows"]}
    reference = ranking(home)["reference"]
    verdicts = {row["difference"]["verdict"] for label, row in rows.items() if label != reference}
    assert verdicts == {"one seed"}
    assert "Rows have different seeds, so their means are of different runs." in page
    assert rows["learned"]["reason"] == "seed 1, seed 2: not trained"
    assert "[1] seed 1, seed 2: not trained" in page


def test_a_prior_that_fails_stays_in_the_table_with_its_reason(home, call, monkeypatch):
    genprior.register(Falls)
    original = begin_fit

    def armed(prior, codes, seed):
        Falls.armed = len(codes.z) > 1000 and prior.name == "falls" and not armed.rehearsed
        armed.rehearsed = False
        return original(prior, codes, seed)

    armed.rehearsed = True
    monkeypatch.setattr("genprior.runs.second_stage.begin_fit", armed)
    monkeypatch.setattr("genprior.runs.second_stage.REHEARSED", 500)
    arguments = ("--out", home / "out", "--jobs", 1, "--device", "cpu", "--add", "falls", "--seeds", "0")
    result = call("priors", home / "few.toml", *arguments)
    assert result.exit_code == 2
    assert "1 of 4 runs failed:\n  falls: the codes are on a line" in result.output
    found = ranking(home)["rows"]
    assert found[-1]["label"] == "falls"
    assert (found[-1]["rank"], found[-1]["reason"]) == (None, "seed 0: the codes are on a line")
    assert found[-1]["learned"] == "fitted afterwards"
    assert "does not rank [1]" in result.stdout
    assert "[1] seed 0: the codes are on a line" in result.stdout


@pytest.mark.parametrize(
    ("text", "label", "learned", "setting"),
    [
        ("shell", "shell", "fixed", {"name": "shell", "radius": 1.0}),
        ("shell={radius=2.0}", "shell radius=2.0", "fixed", {"name": "shell", "radius": 2.0}),
        ("shell.radius=2.0", "shell radius=2.0", "fixed", {"name": "shell", "radius": 2.0}),
        ("bag", "bag", "fitted afterwards", {"name": "bag", "least": 2}),
        ("code_generator={noise=5}", "code_generator noise=5", "with the model", None),
    ],
)
def test_a_prior_is_added_by_one_command(home, call, text, label, learned, setting):
    genprior.register(Shell)
    arguments = ("--out", home / "out", "--jobs", 1, "--device", "cpu", "--seeds", "0", "--add", text)
    result = call("priors", home / "few.toml", *arguments)
    assert result.exit_code == 0, result.output
    row = next(row for row in ranking(home)["rows"] if row["label"] == label)
    assert (row["learned"], row["seeds"], row["rank"] is not None) == (learned, [0], True)
    model = genprior.load_run(home / "out" / label / "seed-0").plan.as_table()["model"]
    if setting is not None:
        assert model["prior" if learned == "fixed" else "fitted_prior"] == setting
    if learned == "with the model":  # not in the first row, whose model would not train it
        assert model["improves"]["prior"] is True
    if learned == "fitted afterwards":  # shares the first stage of the others
        facts = json.loads((home / "out" / label / "seed-0" / "run.json").read_text())
        assert facts["first_stage"]["folder"] == "../../gaussian/seed-0"


def test_a_prior_that_can_be_both_is_added_twice(home, call):
    genprior.register(Both)
    arguments = ("--out", home / "out", "--jobs", 1, "--device", "cpu", "--seeds", "0", "--add", "both")
    result = call("priors", home / "few.toml", *arguments, "--rows", "gaussian")
    assert result.exit_code == 0, result.output
    learned = {row["label"]: row["learned"] for row in ranking(home)["rows"]}
    assert learned["both"] == "fixed"
    assert learned["both fitted"] == "fitted afterwards"


REFUSED = {
    "unknown name": (
        ("--add", "gausian"),
        "--add gausian: there is no prior named 'gausian'; did you mean 'gaussian'? Possible: affine, bag, ",
    ),
    "there already": (
        ("--add", "gaussian"),
        "--add gaussian: the recipe has a row 'gaussian' already, which is ranked without --add. To rank the prior "
        "with other settings, name them, as in --add 'gaussian={...}'",
    ),
    "twice": (("--add", "bag", "--add", "bag"), "--add bag: the recipe has a row 'bag' already"),
    "not TOML": (
        ("--add", "bag={least="),
        "--add bag={least=: needs NAME or NAME={SETTING=VALUE, ...} with TOML values, such as ring or "
        "'ring={radius=2.0}' (strings need double quotes, so put single quotes around the whole)",
    ),
    "no table": (("--add", "bag=3"), "--add bag=3: needs NAME or NAME={SETTING=VALUE, ...} with TOML values"),
    "setting": (
        ("--add", "bag={lest=3}"),
        "--add bag={lest=3}: prior 'bag' has no setting 'lest'; did you mean 'least'? Possible: least",
    ),
    "no row takes it": (
        ("--add", "bag={least=1_000_000}"),
        "--add bag={least=1_000_000}: no row of the recipe 'few' takes it as fitted_prior.\n"
        "  row affine, gaussian, learned: prior 'bag' needs 1000000 codes, and there are 1437\n",
    ),
    "no row trains it": (
        ("--rows", "gaussian", "--add", "code_generator={noise=3}", "--like", "gaussian"),
        "--add code_generator={noise=3}: row 'gaussian' does not take it as prior.\n  row gaussian: prior "
        "'code_generator' of ",
    ),
    "no such row": (
        ("--add", "bag", "--like", "gausian"),
        "--like gausian: there is no row 'gausian'; did you mean 'gaussian'? Possible: affine, gaussian, learned",
    ),
    "row without a prior that is added": (("--like", "gaussian"), "says which row --add copies; give --add NAME too"),
    "score": (
        ("--by", "random_features_precison"),
        "--by random_features_precison: no score of the recipe 'few' measures it; did you mean "
        "'random_features_precision'? Possible: random_features_nearest_distance, random_features_precision, "
        "random_features_recall",
    ),
    "score without a direction": (
        (
            "--by",
            "random_features_authenticity",
            "--set",
            'scores=[{name="memorisation",samples=24},{name="nearest_distance"}]',
        ),
        "--by random_features_authenticity: neither higher nor lower is better, so it ranks nothing. "
        "Possible: random_features_nearest",
    ),
    "no scores": (
        ("--set", "scores=[]"),
        "the recipe 'few' has no scores with a better direction, so its rows cannot be ranked; give it one, such as "
        "--set 'scores=[{ name = \"fid\" }]'",
    ),
    "nothing trained": (
        ("--no-train",),
        "out to rank; leave --no-train out, or give the --out of the runs",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(recipe, call, case):
    arguments, text = REFUSED[case]
    out = recipe.parent / "out"
    result = call("priors", recipe, "--out", out, "--device", "cpu", *arguments)
    assert result.exit_code == 2
    assert text in result.output
    assert not out.exists()


@pytest.mark.parametrize("name", ["priors.md", "priors.json"])
def test_a_users_file_is_not_overwritten(home, call, name):
    (home / "out" / name).write_text("# my priors\n")
    result = call("priors", home / "few.toml", "--out", home / "out", "--no-train")
    assert result.exit_code == 2
    path = home / "out" / name
    assert f"{path} was not written by genprior, or is damaged, and would be overwritten" in result.output
    assert path.read_text() == "# my priors\n"


def test_without_a_recipe_the_one_here_is_taken_or_genpriors_own(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = call("priors", "--no-train", "--with", "quick")
    assert result.exit_code == 2
    assert "there are no runs in runs/priors-quick to rank" in result.output
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "priors.toml").write_text(RECIPE)
    result = call("priors", "--no-train")
    assert "there are no runs in runs/priors to rank" in result.output  # the folder that `train` would use
