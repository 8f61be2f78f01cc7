"""Exported folders: they are opened anywhere, and their samples are those of the run."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import genprior
from genprior.errors import CheckpointError, RunError
from genprior.runs import exported
from genprior.runs.find import one_run
from genprior_report.content import content_of


@pytest.fixture(scope="module")
def shared(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shared") / "mine"
    genprior.export_folder(run, folder)
    return folder


def test_samples_are_those_of_the_run_bit_for_bit_elsewhere_and_without_data(run, shared, tmp_path):
    moved = shutil.copytree(shared, tmp_path / "a b" / "moved")
    script = (
        "import sys, genprior, torch\n"
        f"run = genprior.load_run({str(moved)!r})\n"
        "torch.save(run.sample(20, seed=3, label=7), sys.argv[1])\n"
    )
    environment = {**os.environ, "GENPRIOR_CACHE": str(tmp_path / "cache"), "GENPRIOR_DATA": str(tmp_path / "none")}
    out = tmp_path / "images.pt"
    subprocess.run([sys.executable, "-c", script, str(out)], check=True, cwd=tmp_path, env=environment)
    assert torch.equal(torch.load(out), run.sample(20, seed=3, label=7))


def test_it_has_the_averaged_weights_by_their_names_and_nothing_of_the_machine(run, shared):
    weights = load_file(shared / "model.safetensors")
    assert weights.keys() == run.model.state_dict().keys()
    assert all(torch.equal(weights[name], value) for name, value in run.model.state_dict().items())
    saved = run._files.read_checkpoint(best=True).under("model")
    assert any(not torch.equal(weights[name], saved[name]) for name in weights if name.startswith("decoder."))
    for file in shared.iterdir():
        assert str(run.folder.parent.parent).encode() not in file.read_bytes(), file
    assert "command" not in json.loads((shared / "run.json").read_text())


def test_the_card_says_what_it_is(run, shared):
    card = (shared / "README.md").read_text()
    header, _, text = card.removeprefix("---\n").partition("\n---\n")
    assert "library_name: genprior" in header and "\n# license:" in header
    assert "# shared \\<b>: mine \\| yours" in text
    assert "![Samples](card.png)" in text and "genprior.load_run('mine')" in text
    rows = re.findall(r"^\| (.*) \|$", text.partition("## Scores")[2].partition("\n## ")[0], re.MULTILINE)
    titles, _, cells = (re.split(r" (?<!\\)\| ", row) for row in rows)
    shown = dict(zip(titles, cells, strict=True))
    assert shown["row"] == "mine \\| yours"
    assert float(shown["MMD^2 of codes ↓"]) == pytest.approx(run.scores["code_mmd"], rel=0.01)
    assert "real images: digits" in text
    headings = re.findall("^#+ .*", re.sub("(?s)```.*?```", "", text), re.MULTILINE)
    assert [each for each in headings if each.startswith("# ")] == headings[:1]
    assert headings[1:] == ["## Use", "## Scores", "## Recipe", "## Versions", "## Licence"]
    assert text.partition("## Scores")[2].startswith("\n\n| row |") and "\n\n\n" not in text
    assert 'label = "mine | yours"' in text.partition("```toml")[2].partition("```")[0]
    assert f"- torch: {torch.__version__.split('+')[0]}" in text.replace("\\", "")


def test_commands_take_it(run, shared, call, tmp_path):
    out = tmp_path / "x.npz"
    assert call("sample", str(shared), "-n", "5", "--to", str(out)).exit_code == 0 and out.exists()
    as_the_card_says = shutil.copytree(shared, tmp_path / "copy")
    assert call("sample", str(as_the_card_says)).exit_code == 0 and (as_the_card_says / "samples.png").exists()
    table = call("bench", str(shared), str(run.folder))
    assert table.exit_code == 0 and table.stdout.count("mine | yours") == 2
    assert call("show", str(shared)).exit_code == 0


def test_it_is_scored_anew(run, shared):
    assert genprior.load_run(shared).score("code_mmd") == run.score("code_mmd")


def test_it_is_exported_again(run, shared, tmp_path):
    genprior.export_folder(shared, tmp_path / "again")
    for name in ("model.safetensors", "recipe.toml", "scores.json", "run.json"):
        assert (tmp_path / "again" / name).read_bytes() == (shared / name).read_bytes()


def test_it_is_not_trained(shared):
    with pytest.raises(RunError, match="is an exported model, without the state of training, and cannot be trained"):
        with genprior.load_run(shared)._files.locked():
            pass


def test_a_folder_of_others_is_never_overwritten(run, shared, tmp_path, call):
    mine = tmp_path / "photos"
    mine.mkdir()
    (mine / "holiday.txt").write_text("sea")
    for force in ((), ("--force",)):
        refused = call("export", str(run.folder), "--to", str(mine), *force)
        assert refused.exit_code == 2
        assert "photos holds holiday.txt, which genprior did not export. Nothing was changed." in " ".join(
            refused.stderr.split()
        )
    copy = shutil.copytree(shared, tmp_path / "copy")
    with pytest.raises(RunError, match="copy is an exported model already; give another --to, or --force to replace"):
        genprior.export_folder(run, copy)
    (copy / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match=r"also holds notes\.txt, which would be lost"):
        genprior.export_folder(run, copy, force=True)
    (copy / "notes.txt").unlink()
    (copy / "README.md").write_text("old")
    genprior.export_folder(run, copy, force=True)
    assert "shared" in (copy / "README.md").read_text()
    (tmp_path / "file").write_text("x")
    with pytest.raises(RunError, match="file is no folder"):
        genprior.export_folder(run, tmp_path / "file", force=True)


def test_it_is_written_whole_or_not_at_all(run, tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("genprior.tables.model_card.draw_grid", full)
    with pytest.raises(genprior.SystemFailure, match="No space left"):
        genprior.export_folder(run, tmp_path / "new")
    assert not list(tmp_path.iterdir())


def test_damaged_weights_are_told(shared, tmp_path):
    copy = shutil.copytree(shared, tmp_path / "copy")
    content = bytearray((copy / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (copy / "model.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match="checksum is wrong. Export the run again, or download the folder again"):
        genprior.load_run(copy).sample(1)


def test_paths_of_settings_keep_their_last_name(tmp_path):
    values = {"data": {"folder": tmp_path / "faces", "n": 3}, "scores": ({"file": tmp_path / "a.pt"},)}
    table = {"data": {"folder": "x", "n": 3}, "scores": [{"file": "x"}]}
    assert exported.portable(values, table) == {"data": {"folder": "faces", "n": 3}, "scores": [{"file": "a.pt"}]}


def test_nothing_to_do_is_told(run, call):
    refused = call("export", str(run.folder))
    assert refused.exit_code == 2 and "give --onnx FILE, --to FOLDER or --push USER/NAME" in refused.stderr


def test_exported_folders_beside_each_other_are_rows_of_their_own(run, tmp_path, monkeypatch):
    """Each is shown, under the name of the folder that holds it, where a run's `seed-0` is below a row's folder."""
    for name in ("one", "two"):
        genprior.export_folder(run, tmp_path / "models" / name)
        genprior.export_folder(run, tmp_path / f"others-{name}" / "same")
    monkeypatch.chdir(tmp_path)
    rows = [each.row.name for each in genprior.kept_runs(["models"])]
    assert rows == ["one", "two"]
    assert one_run(Path("models"), row="two").folder == Path("models/two")
    with pytest.raises(RunError, match=r"there is no row 'tow' in models; did you mean 'two'\?"):
        one_run(Path("models"), row="tow")
    found = genprior.kept_runs(["others-one", "others-two/same"])
    assert [str(each.row.parent) for each in found] == ["others-one", "others-two"]
    table = genprior.table_below([*(each.folder for each in found)])
    assert [row.label for row in table.rows] == [f"others-{name}: {run.label}" for name in ("one", "two")]
    content = content_of([Path("models")], all_seeds=False, seconds=0.0)
    assert len(content.details) == 2 and content.summary[0].startswith("2 rows, 2 runs")
    content = content_of([Path("others-one"), Path("others-two")], all_seeds=False, seconds=0.0)
    assert [each.name for each in content.details] == [f"others-{name}: {run.label}" for name in ("one", "two")]
