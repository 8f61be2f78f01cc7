"""What the command line writes to streams that are no terminal or cannot encode every character, and over no file."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from genprior.cli.encoding import encodable


def genprior(*arguments, encoding="utf-8", **env):
    """The command in a process of its own, with the bytes that it writes."""
    env = {**os.environ, "COLUMNS": "200", "PYTHONIOENCODING": encoding, **env}
    command = [sys.executable, "-m", "genprior", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, env=env, check=False)


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_a_table_is_printed_in_any_encoding(trained, encoding):
    done = genprior("show", trained, encoding=encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    shown = done.stdout.decode(encoding)
    assert "Tiny [two rows]" in shown
    assert "^ higher is better, v lower is better." in shown and "?" not in shown
    bars = {tuple(n for n, each in enumerate(line) if each == "|") for line in shown.splitlines() if "AAE" in line}
    bars |= {tuple(n for n, each in enumerate(line) if each == "|") for line in shown.splitlines() if "[A]" in line}
    assert len(bars) == 1 and len(bars.pop()) > 2


def test_a_path_and_a_label_that_cannot_be_encoded_are_shown(recipe):
    recipe.write_text(
        recipe.read_text(encoding="utf-8").replace('label = "[A]"', 'label = "größe → 画"'), encoding="utf-8"
    )
    done = genprior("show", recipe, encoding="ascii")
    assert done.returncode == 0 and b"# row gro?e -> ?: differs from row AAE in" in done.stdout
    lost = genprior("show", b"no-\xff.toml".decode(errors="surrogateescape"))
    assert lost.returncode == 2 and lost.stderr.startswith(b"error: there is no recipe file no-\xff.toml")


@pytest.mark.parametrize(
    ("text", "encoding", "expected"),
    [
        ("0.5 ± 0.1 ↑ é", "ascii", "0.5 +- 0.1 ^ e"),
        ("0.5 ± 0.1 ↑ é", "cp1252", "0.5 ± 0.1 ^ é"),
        ("0.5 ± 0.1 ↑ é", "utf-8", "0.5 ± 0.1 ↑ é"),
        ("⠋ …", "ascii", "* ..."),
    ],
)
def test_only_what_a_stream_cannot_encode_is_replaced(text, encoding, expected):
    assert encodable(text, encoding) == expected


def test_colours_in_a_log_are_no_terminal(recipe, tmp_path):
    done = genprior("train", recipe, "--out", tmp_path / "o", "--jobs", 1, "--rows", "AAE", FORCE_COLOR="1")
    assert done.returncode == 0
    for moving in (b"\x1b[?25l", b"\x1b[1A", b"\x1b[2K", "━".encode(), b"\r"):
        assert moving not in done.stderr
    assert b"AAE" in done.stderr and b"\x1b[1;32m" in done.stderr


def test_a_set_title_is_the_tables(recipe, call, tmp_path):
    options = ("--rows", "AAE", "--jobs", 1, "--out", tmp_path / "o", "--set", 'title="Another"')
    assert call("train", recipe, *options).exit_code == 0
    assert json.loads((tmp_path / "o" / "table.json").read_text())["title"] == "Another"


# ---------------------------------------------------------------------------------------------------------------------
# schema --out
# ---------------------------------------------------------------------------------------------------------------------


def test_a_schema_replaces_a_schema_and_nothing_else(call, tmp_path):
    path = tmp_path / "schema.json"
    assert call("schema", "--out", path).exit_code == 0
    path.write_text(path.read_text().replace('"anyOf"', '"oneOf"'))  # of an older version
    assert call("schema", "--out", path).exit_code == 0 and '"oneOf"' not in path.read_text()
    for text in ('title = "tiny"', '{"title": "mine"}', "[]", ""):
        path.write_text(text)
        result = call("schema", "--out", path)
        assert (result.exit_code, path.read_text()) == (2, text)
        assert result.stderr == (
            f"error: {path} exists already and is not a schema of recipes, so it is not overwritten; give another "
            "--out, or remove it\n"
        )
    assert call("schema", "--out", tmp_path).exit_code == 2


def test_a_schema_does_not_replace_a_link_to_nothing(call, tmp_path):
    link = tmp_path / "schema.json"
    link.symlink_to(tmp_path / "elsewhere.json")
    result = call("schema", "--out", link)
    assert result.exit_code == 2 and f"{link} exists already and is not a schema of recipes" in result.stderr
    assert link.is_symlink() and list(tmp_path.iterdir()) == [link]


def test_a_schema_that_cannot_be_written_says_so(call, tmp_path):
    (tmp_path / "file").write_text("kept")
    result = call("schema", "--out", tmp_path / "file" / "x")
    assert result.exit_code == 2 and (tmp_path / "file").read_text() == "kept"
    assert result.stderr.startswith(f"error: the schema cannot be written to {tmp_path / 'file' / 'x'}: ")
    assert result.stderr.endswith("; give another --out\n")


# ---------------------------------------------------------------------------------------------------------------------
# Streams that are closed, and file names in ASCII
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="a POSIX shell closes streams")
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_error(closed, tmp_path):
    out = tmp_path / "out.txt"
    where = "2> err.txt" if closed == ">&-" else f"> {out.name}" if closed == "2>&-" else ""
    done = subprocess.run(
        ["sh", "-c", f'exec "$0" -m genprior recipes {where} {closed}', sys.executable], cwd=tmp_path, check=False
    )
    assert done.returncode == 0
    assert out.exists() == (closed == "2>&-") and (not out.exists() or "table3_ablation" in out.read_text("utf-8"))
    assert closed != ">&-" or (tmp_path / "err.txt").read_text("utf-8") == ""


@pytest.mark.skipif(os.name == "nt", reason="file names are in Unicode on Windows")
def test_a_label_that_file_names_cannot_have_is_refused(tiny, tmp_path):
    text = tiny.read_text("utf-8").replace('label = "AAE"', 'label = "caf\u00e9 \u2192"')
    tiny.write_text(text, encoding="utf-8")
    ascii_names = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "genprior", "train", tiny.name, "--out", "out"],
        cwd=tmp_path, env={**os.environ, **ascii_names}, capture_output=True, text=True, encoding="utf-8", check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (
        2,
        "error: row 'cafe ->' has a folder of its name, and file names are in ascii here, which cannot write '\\xe9'. "
        "Set the environment variable PYTHONUTF8=1, or a locale of UTF-8, or give the row another label\n",
    )
    assert not (tmp_path / "out").exists()
