"""Tables in five formats, why cells are empty, and watching runs that train."""

from __future__ import annotations

import shutil

import pytest

from genprior.tables.formats import FILES

from .tables import PARZEN, ROWS, csv_lines, noise, png_folder, refused, table_of, unfinished, unscored, values

NOT_LISTED = "not measured: score 'parzen' is not among the scores of this row"


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


def test_why_a_cell_is_empty_stands_below_the_table(small, copy, call, tmp_path):
    few = png_folder(tmp_path / "few", noise(50))
    large = png_folder(tmp_path / "large", noise(60, size=16))
    vivid = png_folder(tmp_path / "vivid", noise(60, c=3))
    scores = ["--score", PARZEN, "--score", '{ name = "elbo", images = 20 }']
    unfinished(copy / "AAE" / "seed-0")
    table, shown = table_of(call, tmp_path, copy / "AAE" / "seed-0", small / "runs", few, large, vivid, *scores)
    reasons = {row["label"]: row["empty"] for row in table["rows"]}
    assert reasons["few"]["parzen"] == "there are 50 images, and it takes 60; give it more, or --samples 50"
    assert reasons["large"]["parzen"].startswith("its images are 16x16 and those of digits 8x8")
    assert reasons["vivid"]["parzen"] == "its images are in colour, and those of digits are grey; convert them"
    assert reasons["few"]["elbo"] == "this score needs the model, but there are only images"
    assert reasons[f"{copy}: AAE"] == dict.fromkeys(
        ["parzen", "elbo", "mutual_information", "aggregated_kl"], "trained 2 of 4 steps"
    )
    assert "does not know these densities" in reasons[f"{small / 'runs'}: AAE"]["elbo"]
    for text in ("[1] ", "there are 50 images, and it takes 60; give it more, or --samples 50", "trained 2 of 4 steps"):
        assert text in shown


def test_runs_that_were_never_asked_say_not_measured(small, copy, call, tmp_path):
    table, _ = table_of(call, tmp_path, small / "runs", unscored(copy))
    assert {row["label"]: row["empty"] for row in table["rows"]} == {
        f"{home}: {label}": {} if home == small / "runs" else {"parzen": NOT_LISTED}
        for home in (small / "runs", copy)
        for label in ROWS
    }


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
