"""`genprior figure`: which runs it shows, what it writes, and what it says where runs are missing."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

from genprior import Condition, load_run, seeded, to_uint8

NAME = "fig10_supervised"
SMALL = ("--set", "noises=1")


def written(folder):
    """The files below a folder that are not of the runs."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def arrays(path):
    with np.load(path) as found:
        return dict(found)


def test_figures_are_listed_with_what_trains_them(call):
    shown = call("figure").stdout
    assert "t-SNE of the encoder's codes by true label and of the prior's by requested label" in shown
    assert "genprior train recipes/fig10_supervised.toml" in shown
    places = [shown.index(f" {name} ") for name in ("fig7_gans", "fig9_high_dimension", "fig10_supervised")]
    assert places == sorted(places)


def test_the_runs_are_found_in_the_folder_that_training_writes(inside, call):
    result = call("figure", NAME, "--with", "quick", "--set", "noises=3")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        f"{label}, seed 0: runs/fig10_supervised-quick/{label}/seed-0" for label in ("fixed prior", "learned prior")
    ] + [f"figures/fig10_supervised{ending}" for ending in (".png", ".pdf", ".npz")]
    found = arrays(inside / "figures" / f"{NAME}.npz")
    assert found["images"].shape == (2, 3, 10, 8, 8, 1) and found["images"].dtype == np.uint8
    assert found["rows"].tolist() == ["fixed prior", "learned prior"]
    assert found["seeds"].tolist() == [0, 0]
    assert found["labels"].tolist() == [str(k) for k in range(10)]


def test_the_data_are_the_models_images_of_one_noise(table, tmp_path, call):
    out = tmp_path / "one"
    assert call("figure", NAME, table, "--seed", 7, "--out", out, "--set", "noises=4").exit_code == 0
    images = arrays(tmp_path / "one.npz")["images"]
    model = load_run(table / "fixed prior" / "seed-0").model
    with seeded(7, "label_grid noise", 0):
        noise = torch.randn(10, 3)  # drawn for ten rows, of which four are shown
    for k in range(10):
        asked = torch.nn.functional.one_hot(torch.full((10,), k), 10).float()
        with torch.no_grad():
            x = to_uint8(model.decoder(torch.cat([asked, noise], 1), asked))
        assert np.array_equal(images[0, :, k], x.permute(0, 2, 3, 1).numpy()[:4])
    # The prior of the other row is its code generator, of the same label and other numbers.
    learned = load_run(table / "learned prior" / "seed-0").model
    with torch.no_grad(), seeded(7, "label_grid noise", 0):
        x = to_uint8(learned.generate(Condition(asked, asked)))
    assert np.array_equal(images[1, :, 9], x.permute(0, 2, 3, 1).numpy()[:4])


def test_the_files_are_the_same_each_time_and_a_pdf_has_texts(table, tmp_path, call):
    for name in ("a", "b"):
        assert call("figure", NAME, table, "--out", tmp_path / f"{name}.pdf", "--set", "noises=1").exit_code == 0
    assert written(tmp_path) == ["a.npz", "a.pdf", "a.png", "b.npz", "b.pdf", "b.png"]
    for ending in ("png", "pdf", "npz"):
        assert (tmp_path / f"a.{ending}").read_bytes() == (tmp_path / f"b.{ending}").read_bytes()
    pdf = (tmp_path / "a.pdf").read_bytes()
    assert pdf.startswith(b"%PDF") and b"/FontFile2" in pdf  # TrueType
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_a_folder_gets_files_of_the_figures_name(table, tmp_path, call):
    assert call("figure", NAME, table, "--out", tmp_path, *SMALL).exit_code == 0
    assert written(tmp_path) == [f"{NAME}.npz", f"{NAME}.pdf", f"{NAME}.png"]


def test_no_file_is_overwritten_unless_forced(table, tmp_path, call):
    (tmp_path / "mine.npz").write_text("mine")
    refused = call("figure", NAME, table, "--out", tmp_path / "mine")
    assert refused.exit_code == 2
    assert refused.stderr == (
        f"error: {tmp_path / 'mine.npz'} exists already; give another --out, or --force to overwrite\n"
    )
    assert written(tmp_path) == ["mine.npz"] and (tmp_path / "mine.npz").read_text() == "mine"
    assert call("figure", NAME, table, "--out", tmp_path / "mine", "--force", *SMALL).exit_code == 0
    assert set(arrays(tmp_path / "mine.npz")) == {"rows", "seeds", "images", "labels", "kind"}


def test_a_folder_in_the_place_of_one_file_leaves_the_others(table, tmp_path, call):
    (tmp_path / "x.pdf").mkdir()
    (tmp_path / "x.png").write_text("mine")
    for force in ((), ("--force",)):
        refused = call("figure", NAME, table, "--out", tmp_path / "x", *SMALL, *force)
        assert refused.exit_code == 2
        assert refused.stderr == (
            f"error: {tmp_path / 'x.pdf'} is a folder, and the figure writes a file there; move it, or give another "
            "--out\n"
        )
    assert written(tmp_path) == ["x.png"] and (tmp_path / "x.png").read_text() == "mine"


# ---------------------------------------------------------------------------------------------------------------------
# Which runs
# ---------------------------------------------------------------------------------------------------------------------


def test_rows_and_seed_of_the_runs_can_be_chosen(table, tmp_path, call):
    out = tmp_path / "x"
    shown = call(
        "figure", NAME, table, "--rows", "learned prior,fixed prior", "--run-seed", 1, "--out", out, *SMALL
    ).stdout
    assert shown.splitlines()[:2] == [
        f"{label}, seed 1: {table}/{label}/seed-1" for label in ("learned prior", "fixed prior")
    ]
    assert arrays(tmp_path / "x.npz")["seeds"].tolist() == [1, 1]


def test_by_default_the_first_seed_that_all_rows_have(table, tmp_path, call):
    for label, seed in (("fixed prior", 0), ("fixed prior", 1), ("learned prior", 1)):
        shutil.copytree(table / label / f"seed-{seed}", tmp_path / "some" / label / f"seed-{seed}")
    assert call("figure", NAME, tmp_path / "some", "--out", tmp_path / "x", *SMALL).exit_code == 0
    assert arrays(tmp_path / "x.npz")["seeds"].tolist() == [1, 1]
    shutil.rmtree(tmp_path / "some" / "fixed prior" / "seed-1")
    assert call("figure", NAME, tmp_path / "some", "--out", tmp_path / "y", *SMALL).exit_code == 0
    assert arrays(tmp_path / "y.npz")["seeds"].tolist() == [0, 1]


def test_missing_rows_name_the_commands_that_train_them(inside, call):
    result = call("figure", NAME)
    assert result.exit_code == 2
    assert result.stderr == (
        "error: figure 'fig10_supervised' shows 2 rows, and runs/fig10_supervised has no finished run of fixed prior, "
        "learned prior.\n"
        "  train: genprior train fig10_supervised\n"
        "  or show other runs: genprior figure fig10_supervised runs/fig10_supervised-quick\n"
        "  or give the folders of runs that were written elsewhere; --rows selects rows of other labels\n"
    )
    assert not (inside / "figures").exists()


def test_a_missing_row_beside_found_and_unfinished_ones(table, tmp_path, call):
    some = tmp_path / "some"
    shutil.copytree(table / "learned prior" / "seed-0", some / "learned prior" / "seed-0")
    shutil.copytree(table / "fixed prior" / "seed-1", some / "fixed prior" / "seed-1")
    facts = some / "fixed prior" / "seed-1" / "run.json"
    command = ["genprior", "--traceback", "train", "my.toml", "--with=quick", "--rows", "fixed prior"]
    facts.write_text(json.dumps(json.loads(facts.read_text()) | {"finished": False, "step": 1, "command": command}))
    facts = some / "learned prior" / "seed-0" / "run.json"
    command = ["/bin/genprior", "train", "my recipe.toml", "--with", "quick"]
    facts.write_text(json.dumps(json.loads(facts.read_text()) | {"command": command}))
    (some / "fixed prior" / "seed-1" / "metrics.jsonl").unlink()
    shutil.rmtree(some / "fixed prior" / "seed-1" / "checkpoints")
    result = call("figure", NAME, some, "--out", tmp_path / "x", *SMALL)
    assert result.exit_code == 2
    assert result.stderr == (
        f"error: figure 'fig10_supervised' shows 2 rows, and {some} has no finished run of fixed prior.\n"
        f"  found: learned prior, seed 0: {some}/learned prior/seed-0\n"
        f"  unfinished: fixed prior: trained 1 of 2 steps: {some}/fixed prior/seed-1\n"
        "  resume: genprior train my.toml --with=quick --rows 'fixed prior'\n"
        "  the runs that were found were trained by: genprior train 'my recipe.toml' --with quick\n"
        "  or select rows of other labels with --rows\n"
    )
    assert not list(tmp_path.glob("x*"))


def recorded(run, **facts):
    """Change what run.json records."""
    path = run / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | facts))


def test_rows_that_are_missing_in_a_given_folder_are_trained_into_that_of_their_recipe(table, tmp_path, call):
    some = tmp_path / "some"
    shutil.copytree(table / "learned prior", some / "learned prior")
    train = "  train: genprior train recipes/fig10_supervised.toml"
    recorded(some / "learned prior" / "seed-0", command=["genprior", "train", "recipes/fig8_codes.toml", "--with", "x"])
    recorded(some / "learned prior" / "seed-1", command=["python", "-c"])
    for folder in (some, some / "learned prior"):
        lines = call("figure", NAME, folder).stderr.splitlines()
        assert [line for line in lines if line.startswith("  train:")] == [f"{train} --rows 'fixed prior'"]
        assert "  the runs that were found were trained by: genprior train recipes/fig8_codes.toml --with x" in lines
    # Runs of the recipe say with which changes it was trained.
    command = ["genprior", "train", "recipes/fig10_supervised.toml", "--with", "quick", "--with=wide", "--jobs", "1"]
    recorded(some / "learned prior" / "seed-1", command=command)
    lines = call("figure", NAME, some).stderr.splitlines()
    assert f"{train} --with quick --with wide --rows 'fixed prior'" in lines
    lines = call("figure", NAME, some, "--with", "other").stderr.splitlines()
    assert f"{train} --with other --rows 'fixed prior'" in lines


def test_an_unfinished_run_that_no_command_trained(table, tmp_path, call):
    some = tmp_path / "some"
    for seed in (0, 1):
        shutil.copytree(table / "fixed prior" / f"seed-{seed}", some / "fixed prior" / f"seed-{seed}")
        recorded(some / "fixed prior" / f"seed-{seed}", finished=False, command=["my_program.py"])
    lines = call("figure", NAME, some).stderr.splitlines()
    assert "  resume: the command that trained fixed prior, given again" in lines
    assert "  train: genprior train recipes/fig10_supervised.toml --rows 'learned prior'" in lines
    # A run of another seed is not the one that is missing.
    lines = call("figure", NAME, some, "--run-seed", 7).stderr.splitlines()
    assert "  train: genprior train recipes/fig10_supervised.toml --seeds 7" in lines
    assert not [line for line in lines if line.startswith("  resume:")]


def test_a_missing_seed_is_in_the_command(inside, call):
    result = call("figure", NAME, "--with", "quick", "--run-seed", 5)
    assert "runs/fig10_supervised-quick has no finished run with seed 5 of fixed prior, learned prior." in result.stderr
    assert "  train: genprior train fig10_supervised --with quick --seeds 5\n" in result.stderr


def test_a_row_that_no_recipe_has(table, call):
    result = call("figure", NAME, table, "--rows", "fixed prior,learnt prior")
    assert result.exit_code == 2
    assert (
        "'learnt prior' is no row of this figure or of these runs; did you mean 'learned prior'? Possible: fixed "
        "prior, learned prior"
    ) in result.stderr
    assert "  train:" not in result.stderr


def test_two_runs_of_one_row_and_seed(table, tmp_path, call):
    shutil.copytree(table, tmp_path / "again")
    result = call("figure", NAME, table, tmp_path / "again")
    assert result.exit_code == 2
    assert result.stderr == (
        "error: there are 2 runs of row 'fixed prior' with seed 0; give the folder of one of them:\n"
        f"  {table}/fixed prior/seed-0\n  {tmp_path}/again/fixed prior/seed-0\n"
    )


# ---------------------------------------------------------------------------------------------------------------------
# Mistakes of arguments
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fig_10_supervised"], "there is no figure named 'fig_10_supervised'; did you mean 'fig10_supervised'?"),
        ([NAME, "--set", "noise=3"], f"figure '{NAME}' has no setting 'noise'; did you mean 'noises'? Possible: noi"),
        ([NAME, "--set", "noises=0"], f"figure '{NAME}' refuses its settings: noises: Input should be greater than or"),
        ([NAME, "--set", "noises"], "--set noises: needs KEY=VALUE with a TOML value, such as noises=5 or 'words=["),
        ([NAME, "--text", "a seven"], f"figure '{NAME}' has no setting 'text'. Possible: noises"),
        ([NAME, "absent"], "there is no folder absent; give folders of runs, or folders above them"),
        (["fig14_text", "--text", "a", "--set", 'text=["b"]'], "error: --text and --set text=... both give the "
            "sentences of figure 'fig14_text'; use one of them (--text may be repeated)\n"),
        (["fig15_colours", "--text", "a flower"], "'a flower' needs {} once, where the words are put, as in 'a {} fl"),
    ],
)  # fmt: skip
def test_a_mistake_is_explained_and_nothing_is_written(inside, call, arguments, message):
    before = written(inside)
    result = call("figure", *arguments)
    assert result.exit_code == 2 and result.stdout == ""
    assert message in result.stderr
    assert written(inside) == before and not (inside / "figures").exists()
