"""The report: one well-formed file that holds all that it shows, whatever stands in the folders of runs."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import genprior
import genprior_report
from genprior_report.command import report as command
from genprior_report.content import _apart
from genprior_report.curves import POINTS, phases_of
from genprior_report.from_model import distances_to
from genprior_report.report import default_file, write_report

from .page import Page

HOSTILE = (
    """</script><script>alert(1)</script><img src=x onerror="alert(2)"> & 'quoted' "twice" {{ 7 * 7 }} \u202e\x1b[31m"""
)
SHOWN = genprior.visible(HOSTILE)
"""Control characters, such as one that reverses the order of others, are shown as codes."""


@pytest.fixture(scope="module")
def page(trained, tmp_path_factory) -> Page:
    out = tmp_path_factory.mktemp("page") / "report.html"
    write_report([trained], out)
    return Page(out)


def _edit(path: Path, **changes) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


# ---------------------------------------------------------------------------------------------------------------------
# What the page holds
# ---------------------------------------------------------------------------------------------------------------------


def test_it_shows_the_table_and_says_what_was_trained(page, trained) -> None:
    table = json.loads((trained / "table.json").read_text())
    assert [each.text for each in page.all("h1")] == ["Two small models"]
    assert "2 rows, 4 runs, 2 seeds. Model: aae. Data: digits. Steps: 6." in page.text
    for row in table["rows"]:
        cell = row["scores"]["classifier_score"]
        assert f"{cell['mean']:.2f} ± {cell['std']:.2f}" in page.text
    assert "How each score is measured" in page.text
    assert "one seed of each row" in page.text


def test_it_shows_the_differences_of_the_table(page, trained) -> None:
    (second,) = page.all("table", **{"class": "differences"})
    after = page.elements[page.elements.index(second) + 1 :]
    cells = itertools.takewhile(lambda e: "table" in e.parents, after)
    shown = [e.text for e in cells if e.tag in ("th", "td")]
    expected = genprior.table_below([trained]).lines_of_differences()
    assert shown == [text for line in expected for text in line]
    assert "0" in shown and any("±" in text for text in shown)


@pytest.mark.parametrize(
    ("level", "words"),
    [
        ({"a"}, "ahead of every other row"),
        ({"a", "c"}, "but it cannot be told apart from c"),
        ({"a", "b", "c"}, "but it cannot be told apart from b and c"),
        ({"a", "b", "c", "d", "e"}, "but it cannot be told apart from b, c and 2 other rows"),
        (set("abcdef"), "but it cannot be told apart from any other row"),
    ],
)
def test_the_summary_names_the_rows_that_are_level(level, words) -> None:
    assert _apart("a", list("abcdef"), level) == words


def test_every_section_is_there_and_linked(page) -> None:
    sections = [e.attributes["id"] for e in page.all("section")]
    assert sections == [
        "summary", "table", "samples", "curves", "labels", "codes", "reconstructions", "nearest", "runs"
    ]  # fmt: skip
    links = {e.attributes["href"] for e in page.all("a") if (e.attributes["href"] or "").startswith("#")}
    ids = [e.attributes["id"] for e in page.elements if "id" in e.attributes]
    assert len(ids) == len(set(ids))
    assert links == {f"#{name}" for name in [*sections, "main"]}


def test_samples_curves_and_codes_are_those_of_the_runs(page, trained) -> None:
    assert page.data["runs"] == ["plain", "labelled"]
    for name, samples, codes in zip(page.data["runs"], page.data["samples"], page.data["codes"], strict=True):
        run = genprior.load_run(trained / name / "seed-0")
        assert [each["step"] for each in samples] == [2, 4, 6]
        assert [each["src"] is None for each in samples] == [False, False, True]  # the newest is in the page itself
        assert len(codes["x"]) == len(codes["y"]) == len(codes["texts"]) == len(codes["kinds"]) == 400
        some = run.images("test").take(slice(300))
        encoded = run.encode(some.images, label=some.labels if name == "labelled" else None)
        expected = genprior.principal_plane(encoded).coordinates(encoded)
        np.testing.assert_allclose(codes["x"][:300], expected[:, 0].numpy(), rtol=1e-3, atol=1e-3)
    drawn = {
        f"{phase['name']}/{curve['name']}": line["y"]
        for phase in page.data["phases"]
        for curve in phase["curves"]
        for line in curve["lines"]
        if line["run"] == 0
    }
    for key, values in drawn.items():
        recorded = [float(f"{r[key]:.5g}") for r in genprior.load_run(trained / "plain" / "seed-0").metrics]
        assert values == recorded


def test_only_a_model_that_takes_labels_has_images_by_label(page) -> None:
    captions = [e.text for e in page.all("caption") if e.text.endswith("by label")]
    assert captions == ["New images of labelled by label"]
    assert [e.attributes["alt"] for e in page.all("img") if "new images" in (e.attributes["alt"] or "")] == [
        f"8 new images of {k}" for k in range(10)
    ]


def test_recipes_are_there_to_copy(page, trained) -> None:
    recipes = [e.text for e in page.all("pre")]
    assert recipes == [(trained / name / "seed-0" / "recipe.toml").read_text() for name in ("plain", "labelled")]


def test_every_seed_is_shown_where_that_is_asked_for(trained, tmp_path) -> None:
    write_report([trained], tmp_path / "all.html", all_seeds=True, seconds=0)
    assert Page(tmp_path / "all.html").data["runs"] == [
        "plain, seed 0", "plain, seed 1", "labelled, seed 0", "labelled, seed 1"
    ]  # fmt: skip


def test_without_time_the_page_shows_what_lies_on_disk_and_says_so(trained, tmp_path) -> None:
    write_report([trained], tmp_path / "quick.html", seconds=0)
    shown = Page(tmp_path / "quick.html")
    assert {"labels", "codes", "nearest"}.isdisjoint(e.attributes["id"] for e in shown.all("section"))
    assert len([e for e in shown.all("img") if "Held-out images" in (e.attributes["alt"] or "")]) == 2
    left_out = "Images by label, reconstructions, codes and nearest training images of some runs were left out, so that"
    assert f"{left_out} training ends quickly" in shown.text


def test_folders_of_several_recipes_are_told_apart(trained, runs, tmp_path) -> None:
    write_report([trained / "plain", runs.rename(tmp_path / "other")], tmp_path / "both.html", seconds=0)
    assert Page(tmp_path / "both.html").data["runs"] == ["two: plain", "other: plain", "labelled"]


# ---------------------------------------------------------------------------------------------------------------------
# One file, for everybody
# ---------------------------------------------------------------------------------------------------------------------


def test_nothing_is_loaded_from_elsewhere(page) -> None:
    for element in page.elements:
        for name in ("src", "href", "srcset", "data", "action", "poster"):
            value = element.attributes.get(name) or "#"
            assert value.startswith(("data:image/webp;base64,", "#")), (element.tag, value)
    (style,) = page.all("style")
    assert "url(" not in style.text and "@import" not in style.text
    policy = page.all("meta", http_equiv="Content-Security-Policy")[0].attributes["content"]
    assert policy is not None and policy.startswith("default-src 'none'; ") and "http" not in policy


def test_only_the_scripts_of_the_page_may_run(page) -> None:
    policy = page.all("meta", http_equiv="Content-Security-Policy")[0].attributes["content"] or ""
    allowed = re.findall(r"'sha256-([^']+)'", policy)
    scripts = [e for e in page.all("script") if e.attributes.get("type") is None]
    assert [base64.b64encode(hashlib.sha256(e.text.encode()).digest()).decode() for e in scripts] == allowed[:1]
    assert len(allowed) == 2 and "unsafe" not in policy.partition("style-src")[0]


def test_pictures_sliders_and_tables_say_what_they_are(page) -> None:
    assert all(e.attributes.get("alt") for e in page.all("img"))
    labelled = {e.attributes.get("for") for e in page.all("label")}
    for field in page.all("input"):
        assert field.attributes.get("id") in labelled or "label" in field.parents
    heads = page.all("th")
    assert heads and all(e.attributes.get("scope") in ("row", "col") for e in heads)
    assert all(e.attributes.get("aria-labelledby") for e in page.all("section"))
    assert page.all("html")[0].attributes["lang"] == "en"
    levels = [int(e.tag[1]) for e in page.elements if re.fullmatch("h[1-6]", e.tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(later - earlier <= 1 for earlier, later in zip(levels, levels[1:], strict=False))


def test_forty_runs_are_small(trained, tmp_path) -> None:
    for row in range(8):
        for seed in range(5):
            shutil.copytree(trained / "plain" / "seed-0", tmp_path / f"r/row {row}/seed-{seed}")
            _edit(tmp_path / f"r/row {row}/seed-{seed}/run.json", label=f"row {row}", seed=seed)
    out = tmp_path / "report.html"
    write_report([tmp_path / "r"], out, seconds=0)
    assert out.stat().st_size < 10e6
    assert "Pictures, curves and recipes are of 8 of 40 runs" in Page(out).text


# ---------------------------------------------------------------------------------------------------------------------
# Bad input
# ---------------------------------------------------------------------------------------------------------------------


def test_hostile_text_is_shown_as_it_is_and_runs_nothing(runs, tmp_path, page, monkeypatch) -> None:
    folder = runs / "labelled" / "seed-0"
    facts = json.loads((folder / "run.json").read_text())
    _edit(
        folder / "run.json",
        hardware={**facts["hardware"], HOSTILE: HOSTILE},
        command=[HOSTILE],
        versions={HOSTILE: HOSTILE},
    )
    recipe = (folder / "recipe.toml").read_text()
    assert 'title = "Two small models"' in recipe
    (folder / "recipe.toml").write_text(recipe.replace('title = "Two small models"', f"title = {json.dumps(HOSTILE)}"))
    images, names = genprior.Run.images, (HOSTILE, *"123456789")
    monkeypatch.setattr(genprior.Run, "classes", list(names))
    monkeypatch.setattr(genprior.Run, "images", lambda run, split: images(run, split)._replace(classes=names))
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    (folder / "metrics.jsonl").write_text("".join(json.dumps({**e, f"{HOSTILE}/loss": 1.0}) + "\n" for e in lines))
    out = tmp_path / "hostile.html"
    write_report([folder], out)
    shown, written = Page(out), out.read_text()
    assert (
        genprior.visible(written) == written
        and "\\u202e" in shown.text
        and "\u202e" not in json.dumps(shown.data, ensure_ascii=False)
    )
    assert shown.all("h1")[0].text == SHOWN and shown.all("title")[0].text == SHOWN
    assert [e.attributes.get("type") for e in shown.all("script")] == ["application/json", "text/plain", None]
    assert not [name for e in shown.elements for name in e.attributes if name.startswith("on")]
    assert not [e for e in shown.all("img") if e.attributes.get("src") == "x"]
    assert any(SHOWN in (e.attributes.get("alt") or "") for e in shown.all("img"))
    assert SHOWN in [e.text for e in shown.all("th")]
    assert any(SHOWN in f"{p['name']}/{c['name']}" for p in shown.data["phases"] for c in p["curves"])
    assert shown.all("script")[2].text == page.all("script")[2].text


def test_a_run_whose_plugin_is_missing_shows_its_records(runs, tmp_path) -> None:
    folder = runs / "labelled" / "seed-0"
    _edit(folder / "run.json", plugins={"std": "genprior 0.1.0", "comets": "genprior-comets 2.1"})
    recipe = (folder / "recipe.toml").read_text()
    (folder / "recipe.toml").write_text(recipe.replace('name = "gaussian"', 'name = "comet"'))
    scores = json.loads((folder / "scores.json").read_text())
    write_report([runs], tmp_path / "report.html")
    shown = Page(tmp_path / "report.html")
    assert (
        "labelled, seed 0: trained with plugin comets (genprior-comets 2.1), which cannot be loaded here. Its records "
        "and pictures are shown; install that package to see its model." in shown.text
    )
    assert "there is no prior named 'comet'" in shown.text
    assert f"classifier_score {scores['classifier_score']:.4g}" in shown.text
    write_report([folder], tmp_path / "alone.html")
    alone = Page(tmp_path / "alone.html")
    assert alone.data["runs"] == ["labelled"] and len(alone.data["samples"][0]) == 3 and alone.data["phases"]
    assert 'name = "comet"' in alone.all("pre")[0].text
    assert "There is no table: there is no run in" in alone.text


def test_damaged_files_are_told_and_hide_nothing_else(runs, tmp_path) -> None:
    folder = runs / "plain" / "seed-0"
    with (folder / "metrics.jsonl").open("r+") as file:
        file.write("{,")
    (folder / "samples" / "step-00000002.png").write_bytes(b"\x89PNG\r\n\x1a\n cut off")
    (folder / "scores.json").write_text("{")
    (runs / "plain" / "seed-1" / "run.json").write_text("")
    (runs / "labelled" / "seed-0" / "recipe.toml").write_bytes(b"\xff\xfe")
    (checkpoint,) = (runs / "labelled" / "seed-1" / "checkpoints").glob("*6.safetensors")
    checkpoint.write_bytes(checkpoint.read_bytes()[:-1000])
    write_report([runs], tmp_path / "report.html", all_seeds=True)
    shown = Page(tmp_path / "report.html")
    assert shown.data["runs"] == ["plain, seed 0", "plain, seed 1", "labelled, seed 0", "labelled, seed 1"]
    assert [[e["step"] for e in each] for each in shown.data["samples"]] == [[4, 6], [2, 4, 6], [2, 4, 6], [2, 4, 6]]
    told = " ".join(e.text for e in shown.all("li"))
    for path in (
        "plain/seed-0/metrics.jsonl is damaged and is left out",
        "plain/seed-0/samples/step-00000002.png",
        "plain/seed-0/scores.json is damaged",
        "plain/seed-1/run.json is damaged",
        "labelled/seed-0/recipe.toml is damaged",
    ):
        assert path in told
    assert told.count(checkpoint.name) == 1 and "labelled, seed 1: its model: the checkpoint" in told


def test_a_file_that_is_no_report_is_not_overwritten(trained, tmp_path) -> None:
    (tmp_path / "mine.html").write_text("<p>my notes")
    with pytest.raises(
        genprior.RunError, match=r"mine\.html is no report of genprior, and would be overwritten\. Noth"
    ):
        write_report([trained], tmp_path / "mine.html", seconds=0)
    assert (tmp_path / "mine.html").read_text() == "<p>my notes"
    with pytest.raises(genprior.RunError, match=r"it is a folder; give a file, such as .*/report\.html"):
        write_report([trained], tmp_path, seconds=0)
    write_report([trained], tmp_path / "own.html", seconds=0)
    write_report([trained], tmp_path / "own.html", seconds=0)


def test_nothing_to_show_is_an_error(tmp_path) -> None:
    with pytest.raises(genprior.GenpriorError, match=r"there is no run in .*; give folders of runs, such as runs/<rec"):
        write_report([tmp_path], tmp_path / "report.html")
    with pytest.raises(genprior.RunError, match="there is no folder"):
        write_report([tmp_path / "absent"], tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []


def test_the_command_writes_into_the_folder(runs, capsys) -> None:
    from typer.testing import CliRunner

    assert default_file([runs / "plain" / "seed-0" / "recipe.toml"]) == runs / "plain" / "seed-0" / "report.html"
    assert default_file([runs, runs]) == Path("report.html")
    done = CliRunner().invoke(command, [str(runs), "--from-records"])
    assert (done.exit_code, done.output) == (0, f"{runs / 'report.html'}\n")
    assert Page(runs / "report.html").data["runs"] == ["plain", "labelled"]


def test_the_report_is_left_beside_the_table(runs, monkeypatch) -> None:
    (runs / "report.html").unlink(missing_ok=True)
    monkeypatch.setenv("GENPRIOR_REPORT", "off")
    genprior_report.genprior_table_written(folder=runs)
    assert not (runs / "report.html").exists()
    monkeypatch.delenv("GENPRIOR_REPORT")
    genprior_report.genprior_table_written(folder=runs)
    assert Page(runs / "report.html").data["runs"] == ["plain", "labelled"]


# ---------------------------------------------------------------------------------------------------------------------
# Its pieces
# ---------------------------------------------------------------------------------------------------------------------


def test_curves_are_thinned_and_split_by_phase() -> None:
    records = [{"step": n, "seconds": 1.0, "a/b/loss": float(n), "a/note": 1, "rate": 0.5} for n in range(1000)]
    records[500]["a/b/loss"] = float("nan")
    found = {(p.name, c.name): c for p in phases_of([[], records]) for c in p.curves}
    assert found.keys() == {("a", "b/loss"), ("a", "note"), ("in every step", "rate")}
    assert [c.main for c in found.values()] == [True, False, False]
    (line,) = found["a", "b/loss"].lines
    assert line["run"] == 1 and len(line["x"]) == len(line["y"]) == POINTS
    assert (line["x"][0], line["x"][-1]) == (0, 999)
    assert found["a", "b/loss"].last(1) == "999" and found["a", "b/loss"].last(0) == "-"


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 6), st.integers(1, 9), st.integers(0, 2**31))
def test_distances_are_those_of_numpy(n, m, seed) -> None:
    generator = np.random.default_rng(seed)
    images, train = (generator.integers(0, 256, (k, 1, 2, 3), dtype=np.uint8) for k in (n, m))
    train[0] = images[0]
    at, distances = distances_to(torch.from_numpy(images), torch.from_numpy(train))
    x, y = (each.reshape(len(each), 6) / 255 for each in (images, train))
    expected = np.sqrt(((x[:, None] - y) ** 2).mean(2))
    assert at[0] == np.flatnonzero(expected[0] == 0)[0] and distances[0] == 0
    np.testing.assert_allclose(distances.numpy(), expected.min(1), atol=1e-6)
