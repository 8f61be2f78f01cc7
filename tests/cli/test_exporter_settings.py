"""Settings of exporters, on the command line and in Python, and the endings that choose an exporter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import Field

import genprior
from genprior import Exporter, PartConfig, PlanError, PluginError, hookimpl
from genprior.registry import Origin, installed
from genprior.runs.export import default_file, exporter_for
from genprior.runs.part_settings import configured, settings_table
from genprior_std.exporters.label_grid import LabelGrid


class Packed(Exporter):
    """Writes its settings."""

    name = "packed"
    suffixes = (".tar.gz", ".TGZ")
    writes = "a packed folder"

    class Config(PartConfig):
        """Settings."""

        level: int = Field(3, ge=0, le=9)
        """How small."""
        folder: dict[str, str] = {}
        """Names."""

    def write(self, model, path, *, n, seed, label):
        Path(path).write_text(f"{self.config.level} {dict(self.config.folder)} {n} {seed}")


class Plugin:
    @hookimpl
    def genprior_parts(self, register):
        register(Packed)


@pytest.fixture
def packed():
    installed.cache_clear()
    installed().add(Plugin(), Origin("packing", "tests 1"))
    yield
    installed.cache_clear()


@pytest.fixture(scope="module")
def run(trained):
    return trained / "AAE" / "seed-0"


def size(path):
    with Image.open(path) as picture:
        return picture.size


@pytest.mark.parametrize("option", ["--exporter", "--export"])
def test_settings_of_an_exporter(run, call, tmp_path, option):
    """Six images of 8 x 8 in two rows of three, each with a frame of 2."""
    result = call("sample", run, "--n", 6, option, "grid", "--set", "columns=3", "--out", tmp_path / "grid.png")
    assert result.exit_code == 0, result.output
    assert size(tmp_path / "grid.png") == (32, 22)
    result = call("sample", run, "--n", 6, "--set", "columns=2", "--to", tmp_path / "narrow.png")
    assert result.exit_code == 0 and size(tmp_path / "narrow.png") == (22, 32)
    genprior.export(genprior.load_run(run), tmp_path / "again.png", n=6, settings={"columns": 3})
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "grid.png").read_bytes()


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        (["colums=3"], "exporter 'grid' has no setting 'colums'; did you mean 'columns'? Possible: columns"),
        (
            ["columns=0"],
            "exporter 'grid' refuses its settings: columns: Input should be greater than 0; "
            "`genprior parts exporter grid` shows them",
        ),
        (["columns"], "--set columns: needs KEY=VALUE with a TOML value, such as columns=5 or 'words=["),
        (
            ["columns=five"],
            '--set columns=five: needs KEY=VALUE with a TOML value, such as columns=5 or \'words=["red", "blue"]\' '
            "(strings need double quotes, so put single quotes around the whole); if it is a text: "
            "--set 'columns=\"five\"'",
        ),
    ],
)
def test_wrong_settings_are_refused_and_nothing_is_written(run, call, tmp_path, settings, text):
    options = [word for each in settings for word in ("--set", each)]
    result = call("sample", run, *options, "--to", tmp_path / "grid.png")
    assert result.exit_code == 2 and result.stderr.startswith(f"error: {text}")
    assert list(tmp_path.iterdir()) == []


def test_an_exporter_without_settings_says_so(run, call, tmp_path):
    result = call("sample", run, "--set", "level=1", "--to", tmp_path / "codes.npz")
    assert result.stderr == "error: exporter 'npz' has no setting 'level'; it has no settings\n"


def test_the_settings_are_listed(call):
    shown = call("parts", "exporter", "grid").stdout
    assert "columns" in shown and "How many images per row." in shown


def test_the_ending_chooses(run, call, tmp_path, packed):
    result = call("sample", run, "--n", 3, "--out", tmp_path / "codes.npz")
    assert result.exit_code == 0, result.output
    with np.load(tmp_path / "codes.npz") as arrays:
        assert arrays["images"].shape == (3, 8, 8, 1)
    settings = ["--set", "level=9", "--set", 'folder.a="x"', "--set", 'folder.b="y"']
    assert call("sample", run, "-n", 3, *settings, "--out", tmp_path / "a.tar.gz").exit_code == 0
    assert (tmp_path / "a.tar.gz").read_text() == "9 {'a': 'x', 'b': 'y'} 3 0"
    assert [exporter_for(Path(name), by_label=False) for name in ("b.tgz", "C.Tar.Gz")] == ["packed", "packed"]


def test_an_exporter_without_a_file_has_its_own_ending(packed, tmp_path):
    assert default_file(tmp_path, "packed") == tmp_path / "samples.tar.gz"
    assert default_file(tmp_path, "npz") == tmp_path / "samples.npz"
    assert default_file(tmp_path, None) == default_file(tmp_path, "code_grid") == tmp_path / "samples.png"


def test_an_exporter_and_a_file_of_another_ending(run, call, tmp_path):
    result = call("sample", run, "--exporter", "npz", "--to", tmp_path / "codes.png")
    assert (result.exit_code, result.stderr) == (
        2,
        f"error: exporter 'npz' writes an array, in files that end in .npz, and {tmp_path / 'codes.png'} does not; "
        f"give {tmp_path / 'codes.npz'}, or another exporter\n",
    )
    assert list(tmp_path.iterdir()) == []


def test_an_ending_that_no_exporter_writes_lists_those_that_are(call, run, tmp_path, packed):
    result = call("sample", run, "--out", tmp_path / "codes.gz")
    assert "ends in '.gz', which is no known format. Possible: .png, .npz, .tar.gz, .TGZ; or name an" in result.stderr


def test_settings_replace_the_defaults_that_the_data_gives():
    assert configured(LabelGrid, {}, LabelGrid.for_classes(7)).labels == 7
    assert configured(LabelGrid, {"labels": 3}, LabelGrid.for_classes(7)).labels == 3
    assert settings_table(["a.b=1", "a.c=2", "a.b=3"], "x=1") == {"a": {"b": 3, "c": 2}}
    with pytest.raises(PlanError, match="exporter 'label_grid' refuses its settings: labels: Input should be greater"):
        configured(LabelGrid, {"labels": 0})


@pytest.mark.parametrize("endings", [".pt", ("pt",), [".pt"], (".",)])
def test_endings_that_are_none_are_refused(endings):
    with pytest.raises(PluginError, match=r"exporter 'torch' \(.*\) has suffixes = .*: write a tuple of endings with"):
        type("Torch", (Exporter,), {"name": "torch", "suffixes": endings})
