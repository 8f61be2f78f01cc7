"""Names and links never lead a file out of the folder that was given."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genprior.errors import RunError
from genprior.recipe.structure import wrong_label
from genprior.runs.jobs import default_folder

LEADING_OUT = (
    "../x", "..", ".", "/etc", "a/b", "a\\b", "..\\x", "C:\\x", "x\x00y", "x\ny", "x.", "x ", "nul", "CON", "com1.txt",
    "LPT9", "aux .x", "table.json", "", " ",
)  # fmt: skip


@pytest.mark.parametrize("label", LEADING_OUT)
def test_a_label_that_is_no_name_of_a_folder_is_refused(label):
    assert wrong_label(label, {})


@given(st.text(max_size=12))
def test_every_label_that_is_accepted_names_a_folder_below(label):
    if wrong_label(label, {}) is None:
        joined = os.path.normpath(os.path.join("/out", label, "seed-0"))
        assert os.path.dirname(os.path.dirname(joined)) == "/out"


def test_a_label_of_windows_is_explained(tiny, call):
    tiny.write_text(tiny.read_text().replace('label = "AAE"', 'label = "nul.a"'))
    result = call("check", tiny)
    assert result.exit_code == 2
    assert (
        "row.0.label: a row needs a label that names the same folder on every system, without '\\' and without a dot "
        "or a space at its end, and that is no device of Windows; this one has 'nul.a'"
    ) in result.output


def test_a_change_does_not_lead_the_default_folder_out(tiny, call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny.write_text(tiny.read_text() + '[change."../../x".run]\nsteps = 2\n')
    for command in ("train", "bench"):
        result = call(command, tiny, "--with", "../../x")
        assert result.exit_code == 2, result.output
        assert "runs/tiny-../../x is not the name of a folder in runs; give the folder of the runs yourself" in (
            result.output
        )
    assert not (tmp_path / "runs").exists()
    assert default_folder("tiny", ["a", "b", "a"]).parts == ("runs", "tiny-a-b")
    with pytest.raises(RunError, match="not the name of a folder"):
        default_folder("tiny", ["a\\b"])


@pytest.mark.parametrize("name", ["checkpoints", "samples", "metrics.jsonl", "scores.json", "recipe.toml", ".lock"])
def test_a_run_does_not_write_through_a_link(tiny, call, tmp_path, name):
    out, outside = tmp_path / "out", tmp_path / "outside"
    folder = out / "AAE" / "seed-0"
    folder.mkdir(parents=True)
    if "." in name:
        outside.write_text("mine")
    else:
        outside.mkdir()
        (outside / "step-00000001.safetensors").write_text("mine")
    (folder / name).symlink_to(outside)
    result = call("train", tiny, "--out", out, "--rows", "AAE", "--jobs", 1, "--set", "run.seeds=[0]")
    assert result.exit_code == 2, result.output
    if name != "recipe.toml":  # which is read first, and is no recipe
        assert f"{folder / name} is a link, and a run writes into its own folder only. Nothing was changed." in (
            result.output
        )
    content = outside.read_text() if outside.is_file() else (outside / "step-00000001.safetensors").read_text()
    assert content == "mine" and outside.is_file() == ("." in name)
    assert outside.is_file() or len(list(outside.iterdir())) == 1


def test_a_run_folder_may_be_a_link_and_its_files_are_read_through_links(tiny, call, tmp_path):
    (tmp_path / "big").mkdir()
    (tmp_path / "out" / "AAE").mkdir(parents=True)
    folder = tmp_path / "out" / "AAE" / "seed-0"
    folder.symlink_to(tmp_path / "big")
    command = ("train", tiny, "--out", tmp_path / "out", "--rows", "AAE", "--jobs", 1, "--set", "run.seeds=[0]")
    assert call(*command).exit_code == 0
    assert (tmp_path / "big" / "run.json").exists()
    (folder / "checkpoints").rename(tmp_path / "moved")
    (folder / "checkpoints").symlink_to(tmp_path / "moved")
    assert call("sample", folder, "--n", 2, "--to", tmp_path / "x.png").exit_code == 0


def test_an_output_that_is_a_link_is_replaced_and_not_followed(tiny, call, tmp_path):
    assert call("train", tiny, "--out", tmp_path / "out", "--rows", "AAE", "--set", "run.seeds=[0]").exit_code == 0
    mine, link = tmp_path / "mine.txt", tmp_path / "x.png"
    mine.write_text("mine")
    link.symlink_to(mine)
    assert call("sample", tmp_path / "out", "--n", 1, "--to", link).exit_code == 2
    assert call("sample", tmp_path / "out", "--n", 1, "--to", link, "--force").exit_code == 0
    assert mine.read_text() == "mine" and not link.is_symlink()
