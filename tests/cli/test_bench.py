"""`genprior bench`: what is measured anew, what shares a column, why a cell is empty, and what is refused."""

from __future__ import annotations

import csv
import io
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import genprior.bench.rescore
from genprior.bench.bench import FILES, Bench
from genprior.bench.rescore import Real
from genprior.errors import ScoreError
from genprior.registry import installed
from genprior.runs.run import load_run
from genprior.tables.published import of_plugins, read_published

RECIPE = """\
title = "Small"
scores = [{ name = "parzen", samples = 60, validation = 50 }]
[run]
steps = 4
batch = 8
seeds = [0, 1]
ema = 0.5
checkpoint_every = 2
sample_every = 1_000
log_every = 2
[data]
name = "digits"
size = 8
validation = 60
[optimiser.default]
name = "adam"
lr = 1e-2
[model]
name = "aae"
code_size = 4
prior = { name = "gaussian" }
encoder = { name = "mlp", hidden = [16] }
decoder = { name = "mlp", hidden = [16] }
code_critic = { name = "code_mlp", hidden = [16] }
image_critic = { name = "image_mlp", hidden = [16] }
reconstruction = { name = "pixel" }
conditioner = { name = "none" }
code_game = { name = "nonsaturating" }
image_game = { name = "nonsaturating" }
[change.A.model]
prior = { name = "code_generator", noise = 4 }
improves.prior = true
[change.grown.data]
size = 16
[[row]]
label = "AAE"
changes = []
[[row]]
label = "[A]_50% & more"
changes = ["A"]
"""
PARZEN = '{ name = "parzen", samples = 60, validation = 50 }'
DIGITS = '{ name = "digits", size = 8, validation = 60 }'
ROWS = ["AAE", "[A]_50% & more"]


@pytest.fixture(scope="module")
def small(tmp_path_factory, call):
    """The folder of a recipe and of its finished runs; tests only read it."""
    home = tmp_path_factory.mktemp("small")
    (home / "small.toml").write_text(RECIPE, encoding="utf-8")
    result = call("train", home / "small.toml", "--out", home / "runs", "--jobs", 1)
    assert result.exit_code == 0, result.output
    return home


@pytest.fixture(autouse=True)
def caches(tmp_path, monkeypatch):
    """A cache folder of the test's own."""
    monkeypatch.setenv("GENPRIOR_DATA", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def copy(small, tmp_path):
    """A copy of the runs that a test may change."""
    return shutil.copytree(small / "runs", tmp_path / "copy")


def unscored(folder):
    """Forget the scores below a folder, and that they were asked for."""
    for path in folder.rglob("scores.json"):
        path.write_text("{}")
    for path in folder.rglob("recipe.toml"):
        lines, kept, inside = path.read_text().splitlines(), [], False
        for line in lines:
            inside = line == "[[scores]]" or (inside and not line.startswith("["))
            kept += [] if inside else [line]
        path.write_text("\n".join(kept) + "\n")
    assert "parzen" not in "".join(path.read_text() for path in folder.rglob("recipe.toml"))
    return folder


def unfinished(run, step=2):
    facts = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(facts | {"finished": False, "step": step}))
    (run / "metrics.jsonl").unlink()


def values(folder):
    """What training itself measured, by row, in the order of seeds."""
    return {
        row.name: [json.loads((row / f"seed-{k}" / "scores.json").read_text())["parzen"] for k in (0, 1)]
        for row in sorted(folder.iterdir())
        if row.is_dir()
    }


def table_of(call, tmp_path, *arguments):
    result = call("bench", *arguments, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    return json.loads((tmp_path / "out" / "table.json").read_text()), result.stdout


def csv_lines(tmp_path):
    return list(csv.DictReader(io.StringIO((tmp_path / "out" / "table.csv").read_text(encoding="utf-8"))))


def row_of(table, label):
    return next(row for row in table["rows"] if row["label"] == label)


def refused(call, *arguments):
    """What the command says to a mistake: exit code 2, a text, no traceback."""
    result = call("bench", *arguments)
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("error: ") and "Traceback" not in result.output
    return result.stderr


def png_folder(folder, images):
    """Images uint8 [n, c, h, w] as PNG files whose names sort in their order."""
    folder.mkdir(parents=True)
    for place, image in enumerate(images):
        pixels = image.permute(1, 2, 0).numpy()
        Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(folder / f"{place:05d}.png")
    return folder


def noise(n, c=1, size=8, seed=0):
    return torch.randint(256, (n, c, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


# ---------------------------------------------------------------------------------------------------------------------
# Scoring anew
# ---------------------------------------------------------------------------------------------------------------------


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
    assert "'parzen' was measured in 2 ways that cannot be compared" in shown


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


# ---------------------------------------------------------------------------------------------------------------------
# Images from anywhere
# ---------------------------------------------------------------------------------------------------------------------


def test_images_score_as_the_run_that_made_them(small, call, tmp_path):
    """The .npz of the exporter, a plain one, and PNG files, grey and in colours, of the same 60 images."""
    run = load_run(small / "runs" / "AAE" / "seed-1")
    images = run.sample(60, seed=1)
    exported = tmp_path / "exported.npz"
    assert call("sample", run.folder, "--n", 60, "--seed", 1, "--to", exported).exit_code == 0
    np.savez(tmp_path / "plain.npz", images.permute(0, 2, 3, 1).numpy(), np.zeros(60))
    grey = png_folder(tmp_path / "grey", images)
    colours = png_folder(tmp_path / "colours", images.expand(-1, 3, -1, -1))
    table, _ = table_of(call, tmp_path, small / "runs", exported, tmp_path / "plain.npz", grey, colours)
    expected = values(small / "runs")["AAE"][1]
    assert [row["label"] for row in table["rows"]] == [*ROWS, "exported", "plain", "grey", "colours"]
    for label in ("exported", "plain", "grey", "colours"):
        assert row_of(table, label)["scores"]["parzen"]["values"] == [pytest.approx(expected, rel=1e-9)]
    assert [column["key"] for column in table["columns"]] == ["parzen"]


def test_images_alone_take_the_real_ones_from_where_they_are_told(small, call, tmp_path):
    made = png_folder(tmp_path / "made", noise(60))
    tables = [
        table_of(call, tmp_path, made, "--score", PARZEN, "--data", data)[0]["rows"]
        for data in (DIGITS, small / "small.toml")
    ]
    assert tables[0] == tables[1] and math.isfinite(tables[0][0]["scores"]["parzen"]["mean"])
    assert "name them with --data" in refused(call, made, "--score", PARZEN)
    assert "name one with --score" in refused(call, made, "--data", DIGITS)


def test_a_network_that_cannot_be_had_is_asked_for_once_and_its_reason_told(small, call, monkeypatch, tmp_path):
    asked = []

    def none(*args, **kwargs):
        asked.append(args)
        raise OSError("no route to host")

    monkeypatch.setattr("torch_fidelity.feature_extractor_inceptionv3.FeatureExtractorInceptionV3", none)
    said = refused(call, small / "runs", "--score", "fid", "--samples", "20")
    assert len(asked) == 1
    assert f"{ROWS[0]}, {ROWS[1]}: score 'fid': the Inception weights cannot be downloaded (no route to host)" in said
    table, _ = table_of(call, tmp_path, small / "runs", "--score", "parzen", "--score", "fid")
    assert table["rows"][0]["empty"]["fid"].startswith("the Inception weights cannot be downloaded")
    assert table["rows"][0]["scores"]["parzen"]["values"] == values(small / "runs")["AAE"]


def test_images_of_a_folder_are_flat_or_in_sub_folders(tmp_path):
    flat = Real.of_images(genprior.bench.rescore.Images(tmp_path, noise(6)))
    png_folder(tmp_path / "deep" / "0", noise(3))
    png_folder(tmp_path / "deep" / "1", noise(6)[3:])
    deep = genprior.data.foreign.read_images(tmp_path / "deep")
    assert torch.equal(deep.images[:3], noise(3)) and torch.equal(deep.images[3:], noise(6)[3:])
    assert torch.equal(flat.load("train").images, flat.load("test").images)


def test_why_a_cell_is_empty_stands_below_the_table(small, copy, call, tmp_path):
    few = png_folder(tmp_path / "few", noise(50))
    large = png_folder(tmp_path / "large", noise(60, size=16))
    vivid = png_folder(tmp_path / "vivid", noise(60, c=3))
    scores = ["--score", PARZEN, "--score", '{ name = "elbo", images = 20 }']
    unfinished(copy / "AAE" / "seed-0")
    table, shown = table_of(call, tmp_path, copy / "AAE" / "seed-0", small / "runs", few, large, vivid, *scores)
    reasons = {row["label"]: row["empty"] for row in table["rows"]}
    assert reasons["few"]["parzen"] == "has 50 images, 60 are needed"
    assert reasons["large"]["parzen"].startswith("its images are 16x16 and those of digits 8x8")
    assert reasons["vivid"]["parzen"] == "its images have colours, and those of digits are grey"
    assert reasons["few"]["elbo"] == "this score needs the model, and here are only images"
    assert reasons[f"{copy}: AAE"] == dict.fromkeys(
        ["parzen", "elbo", "mutual_information", "aggregated_kl"], "trained 2 of 4 steps"
    )
    assert "does not know these densities" in reasons[f"{small / 'runs'}: AAE"]["elbo"]
    for text in ("[1] ", "has 50 images, 60 are needed", "trained 2 of 4 steps"):
        assert text in shown


def test_runs_that_were_never_asked_say_not_measured(small, copy, call, tmp_path):
    table, _ = table_of(call, tmp_path, small / "runs", unscored(copy))
    assert {row["label"]: row["empty"] for row in table["rows"]} == {
        f"{home}: {label}": {} if home == small / "runs" else {"parzen": "not measured"}
        for home in (small / "runs", copy)
        for label in ROWS
    }


# ---------------------------------------------------------------------------------------------------------------------
# Recipes
# ---------------------------------------------------------------------------------------------------------------------


def test_a_recipe_means_its_runs_and_shows_rows_that_are_not_trained(small, copy, call, tmp_path, monkeypatch):
    shutil.rmtree(copy / ROWS[1])
    table, _ = table_of(call, tmp_path, small / "small.toml", "--runs", copy)
    assert [row["label"] for row in table["rows"]] == ROWS
    assert row_of(table, "AAE")["scores"]["parzen"]["values"] == values(copy)["AAE"]
    assert row_of(table, ROWS[1]) == {
        "label": ROWS[1], "seeds": [], "scores": {}, "empty": {"parzen": "not trained"}, "published": {},
        "seconds": None, "images_per_second": None,
    }  # fmt: skip
    assert len(table["missing"]) == 2
    # Without --runs they are below the working folder, as `genprior train` puts them.
    monkeypatch.chdir(tmp_path)
    shutil.copytree(copy, tmp_path / "runs" / "small")
    assert table_of(call, tmp_path, small / "small.toml")[0]["rows"] == table["rows"]


def test_a_recipe_refuses_runs_of_another(small, call, tmp_path):
    said = refused(call, small / "small.toml", "--runs", small / "runs", "--set", "model.code_size=6")
    assert "holds a run of another recipe" in said and "model.code_size: was 4, is 6" in said and "--with" in said
    assert "there is no finished run" in refused(call, small / "small.toml", "--runs", tmp_path / "none")
    assert "--runs says where the runs of one recipe are" in refused(call, small / "runs", "--runs", tmp_path)


def test_a_recipe_and_a_run_of_other_data_are_refused(small, copy, call):
    path = copy / "AAE" / "seed-0" / "recipe.toml"
    path.write_text(path.read_text().replace("size = 8", "size = 16"))
    shutil.rmtree(copy / "AAE" / "seed-1")
    shutil.rmtree(copy / ROWS[1])
    said = refused(call, small / "small.toml", copy, "--runs", small / "runs")
    assert "was trained on other data than the rows of" in said and '"size": 16' in said and '"size": 8' in said
    # Two folders of runs are compared, each in a column of its own.
    result = call("bench", small / "runs", copy)
    assert result.exit_code == 0 and "2 ways that cannot be compared" in result.stdout


# ---------------------------------------------------------------------------------------------------------------------
# Published numbers
# ---------------------------------------------------------------------------------------------------------------------

NUMBERS = """\
[[number]]
method = "aae"
data = "digits"
metric = "parzen"
value = -12.5
spread = 0.25
paper = "A paper"
where = "Table 7"
source = "read in the paper"
verified = true
[[number]]
method = "something else"
rows = ["[A]_50% & more"]
data = { name = "digits", size = 8 }
metric = "parzen"
value = 99.0
source = "recalled, unverified"
[[number]]
method = "AAE"
data = { name = "digits", size = 28 }
metric = "parzen"
value = 1.0
[[number]]
method = "AAE"
data = "digits"
metric = "classifier_parzen"
value = 2.0
"""


def test_published_numbers_stand_beside_ours_and_recalled_ones_are_marked(small, call, tmp_path):
    (tmp_path / "numbers.toml").write_text(NUMBERS)
    table, shown = table_of(call, tmp_path, small / "runs", "--published", tmp_path / "numbers.toml")
    found = {row["label"]: [n["value"] for n in row["published"]["parzen"]] for row in table["rows"]}
    assert found == {"AAE": [-12.5], ROWS[1]: [99.0]}
    assert "-12.5 ± 0.25 [1]" in shown and "99 (unverified) [2]" in shown
    assert "[1] published as 'aae'; A paper, Table 7; read in the paper" in shown
    assert "[2] published as 'something else'; recalled, unverified" in shown
    lines = csv_lines(tmp_path)
    assert [(line["published"], line["published_verified"]) for line in lines] == [("-12.5", "True"), ("99.0", "False")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = [", "cannot be read"),
        ("[[numbers]]\nvalue = 1", "holds numbers; a file of published numbers holds"),
        (
            '[[number]]\nmethod = "AAE"\ndata = "digits"\nmetric = "fid"',
            "number 1 is not valid (value: Field required)",
        ),
    ],
)
def test_a_file_of_published_numbers_that_is_none(small, call, tmp_path, text, message):
    (tmp_path / "numbers.toml").write_text(text)
    assert message in refused(call, small / "runs", "--published", tmp_path / "numbers.toml")
    assert "there is no file of published numbers" in refused(call, small / "runs", "--published", tmp_path / "none")


def test_the_standard_parts_carry_their_published_numbers():
    numbers = of_plugins(installed())
    assert {number.value for number in numbers if number.is_of("A+B+C", {"name": "cifar10"}, "inception_score")} == {
        7.31
    }
    assert not [number for number in numbers if number.is_of("A+B+C", {"name": "digits"}, "inception_score")]
    with pytest.raises(ScoreError, match="no file of published numbers"):
        read_published(Path("absent.toml"))


# ---------------------------------------------------------------------------------------------------------------------
# Written tables, and watching
# ---------------------------------------------------------------------------------------------------------------------


def test_the_table_is_written_in_five_formats(small, call, tmp_path):
    result = call("bench", small / "runs", "--out", tmp_path / "out")
    assert [str(tmp_path / "out" / name) in result.stdout for name in FILES] == [True] * 5
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(FILES)
    (first, second) = csv_lines(tmp_path)
    expected = values(small / "runs")
    assert first["row"] == "AAE" and [float(each) for each in first["values"].split()] == expected["AAE"]
    assert float(second["mean"]) == pytest.approx(sum(expected[ROWS[1]]) / 2)
    latex = (tmp_path / "out" / "table.tex").read_text()
    assert r"{[A]\_50\% \& more}" in latex and r"\toprule" in latex and r"$\pm$" in latex
    assert not {"↑", "±"} & set(latex)
    html = (tmp_path / "out" / "table.html").read_text()
    assert "[A]_50% &amp; more" in html and "60 samples" in html
    (tmp_path / "file").write_text("")
    assert "cannot be written" in refused(call, small / "runs", "--out", tmp_path / "file")


def test_watching_shows_the_steps_and_ends_with_the_last_run(small, copy, call, monkeypatch):
    run = copy / "AAE" / "seed-0"
    whole = (run / "run.json").read_text()
    unfinished(run, step=3)
    shutil.rmtree(copy / "AAE" / "seed-1")
    slept = []

    def sleep(seconds):
        slept.append(seconds)
        if len(slept) == 2:
            (run / "run.json").write_text(whole)

    monkeypatch.setattr("time.sleep", sleep)
    result = call("bench", copy, "--watch", "7")
    assert result.exit_code == 0, result.output
    # Two looks at the same state are one table; the change is another.
    assert (slept, result.stdout.count("images/s")) == ([7.0, 7.0], 2)
    assert result.stdout.index("trained 3 of 4 steps") < result.stdout.rindex("images/s")
    assert f"{values(small / 'runs')['AAE'][0]:.2f}" in result.stdout


def test_ctrl_c_ends_the_watch_cleanly(small, copy, call, monkeypatch):
    for seed in (0, 1):
        unfinished(copy / "AAE" / f"seed-{seed}")
        unfinished(copy / ROWS[1] / f"seed-{seed}")

    def sleep(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", sleep)
    result = call("bench", copy, "--watch", "1")
    assert result.exit_code == 0 and not result.stderr, result.output
    assert "Parzen log-likelihood" in result.stdout and "[1] trained 2 of 4 steps" in result.stdout


# ---------------------------------------------------------------------------------------------------------------------
# What is refused
# ---------------------------------------------------------------------------------------------------------------------


def test_a_folder_without_images_or_runs(call, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "holds neither runs nor images (PNG or JPEG)" in refused(call, tmp_path / "empty", "--score", PARZEN)
    assert "there is no folder" in refused(call, tmp_path / "absent")
    assert "there is no file" in refused(call, tmp_path / "absent.npz")


def test_images_of_mixed_sizes(call, tmp_path):
    mixed = png_folder(tmp_path / "mixed", noise(9))
    Image.fromarray(np.zeros((4, 6), np.uint8)).save(mixed / "odd.png")
    said = refused(call, mixed, "--score", PARZEN, "--data", DIGITS)
    assert "its images have 2 sizes: 8x8 (9, such as 00000.png), 6x4 (1, such as odd.png)" in said


def test_one_unreadable_image_among_many_is_named_and_counted(call, tmp_path):
    folder = png_folder(tmp_path / "images", noise(1500))
    broken = folder / "00700.png"
    broken.write_bytes(broken.read_bytes()[:50])
    said = refused(call, folder, "--score", PARZEN, "--data", DIGITS)
    assert "1 of 1,500 images cannot be read" in said and str(broken) in said and "repair or remove" in said
    for place in range(10, 17):
        (folder / f"000{place}.png").write_bytes(b"nothing")
    said = refused(call, folder, "--score", PARZEN, "--data", DIGITS)
    assert "8 of 1,500 images cannot be read" in said and "and 3 more" in said
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(png_folder(tmp_path / "deep", noise(1)) / "deep.png")
    assert "has no 8 bits a channel" in refused(call, tmp_path / "deep", "--score", PARZEN, "--data", DIGITS)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.zeros(3), "y": np.zeros(3)}, "has no array 'images' or 'arr_0'; it has x, y"),
        ({"images": np.zeros((4, 8, 8))}, "'images' is float64; uint8 values"),
        ({"images": np.zeros((4, 8), np.uint8)}, "'images' has shape [4, 8]"),
        ({"images": np.zeros((4, 3, 8, 3), np.uint8)}, "could be channels-first or channels-last"),
        ({"images": np.zeros((0, 8, 8, 3), np.uint8)}, "'images' has shape [0, 8, 8, 3]"),
    ],
)
def test_an_npz_without_images(call, tmp_path, arrays, message):
    np.savez(tmp_path / "odd.npz", **arrays)
    assert message in refused(call, tmp_path / "odd.npz", "--score", PARZEN, "--data", DIGITS)
    (tmp_path / "odd.npz").write_bytes(b"PK no archive")
    assert "it is no .npz of plain arrays" in refused(call, tmp_path / "odd.npz", "--score", PARZEN, "--data", DIGITS)


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


def test_fewer_images_than_samples_are_refused_where_nothing_else_is_measured(call, tmp_path):
    few = png_folder(tmp_path / "few", noise(50))
    said = refused(call, few, "--score", PARZEN, "--data", DIGITS)
    assert "nothing could be measured:\n  few: score 'parzen': has 50 images, 60 are needed" in said


def test_runs_without_a_checkpoint_or_an_end(copy, call):
    for folder in unscored(copy).rglob("checkpoints"):
        shutil.rmtree(folder)
    said = refused(call, copy, "--score", PARZEN)
    assert "nothing could be measured" in said and "has no checkpoint left to draw from; train it anew" in said
    for run in copy.glob("*/seed-*"):
        unfinished(run)
    said = refused(call, copy, "--score", PARZEN)
    assert "there is no finished run in" in said and "(trained 2 of 4 steps)" in said


@pytest.mark.parametrize(
    ("option", "text", "message"),
    [
        ("--score", "parzn", "no run here has the score 'parzn'; did you mean 'parzen'?"),
        ("--score", "{ name = ", "this is no TOML table"),
        ("--score", '{ name = "parzn" }', "there is no score named 'parzn'; did you mean 'parzen'?"),
        ("--score", '{ name = "fid", sampels = 3 }', "sampels: Extra inputs are not permitted"),
        ("--data", "digit", "is no data set and no recipe, folder or .npz that exists; did you mean 'digits'?"),
        ("--data", "folder", "data set 'folder' has settings that must be given (path: Field required)"),
        ("--data", '{ name = "digits", size = 0 }', "size: Input should be greater than or equal to 1"),
    ],
)
def test_scores_and_data_that_do_not_exist(small, call, option, text, message):
    assert message in refused(call, small / "runs", option, text)


# ---------------------------------------------------------------------------------------------------------------------
# The same numbers as torch-fidelity's own command
# ---------------------------------------------------------------------------------------------------------------------


class Small(torch.nn.Module):
    """Stands for the Inception network, in torch-fidelity and in genprior: a quick one of 12 features."""

    def __init__(self, name="small", features_list=("2048", "logits_unbiased"), **settings):
        super().__init__()
        self.features_list = features_list
        self.layer = torch.nn.Linear(48, 12)
        self.head = torch.nn.Linear(12, 5)
        path = settings.get("feature_extractor_weights_path")
        if path is not None:
            self.load_state_dict(torch.load(path))

    def forward(self, x):
        pooled = torch.nn.functional.adaptive_avg_pool2d(x.float() / 255, 4).flatten(1)
        features = torch.tanh(self.layer(pooled))
        found = {"2048": features, "logits_unbiased": self.head(features) * 5}
        return tuple(found[name] for name in self.features_list)


class AsItIs:
    """Stands for the folded Inception network where `Small` is what would be folded."""

    version = "as-it-is"

    def __init__(self, network):
        self.network = network

    def arranged_for(self, device):
        return self.network.to(device)


def stand_in(monkeypatch):
    monkeypatch.setattr("torch_fidelity.feature_extractor_inceptionv3.FeatureExtractorInceptionV3", Small)
    monkeypatch.setattr("genprior_std.scores.inception.FoldedInception", AsItIs)


def weights(path, seed):
    torch.manual_seed(seed)
    torch.save(Small().state_dict(), path)
    return path


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
