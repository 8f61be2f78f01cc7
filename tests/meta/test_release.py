"""A release: the fragments of `changelog/` become a section of CHANGELOG.md, and every place names one version."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import genprior

ROOT = Path(genprior.__file__).parents[1]
FRAGMENTS = [path for path in sorted((ROOT / "changelog").iterdir()) if path.name != ".gitkeep"]
"""None right after a release."""
MADE = {
    "core.added.md": "The engine; typed recipes,\nand runs that resume.\nThe model `aae`.\n",
    "names.changed.md": "`lr` was `rate`.\n",
    "edges.fixed.md": "Codes are finite. Names\nmay have commas.\n",
    "ends.fixed.md": "A run ends.\n",
}


def test_every_fragment_has_a_name_of_a_kind_and_a_text() -> None:
    for path in FRAGMENTS:
        assert re.fullmatch(r"[a-z0-9_]+\.(added|changed|fixed)\.md", path.name), path.name
        assert path.read_text(encoding="utf-8").strip(), path.name


def test_one_command_builds_the_changelog(tmp_path: Path) -> None:
    pytest.importorskip("towncrier", reason="towncrier is not installed; `make setup` installs it")
    for name in ("pyproject.toml", "CHANGELOG.md", "docs/changelog.md.jinja"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "changelog").mkdir()
    for name, text in MADE.items():
        (tmp_path / "changelog" / name).write_text(text, encoding="utf-8")
    file = tmp_path / "CHANGELOG.md"
    before = file.read_text(encoding="utf-8")
    command = next(line for line in (ROOT / "Makefile").read_text().splitlines() if "towncrier build" in line)
    words = command.replace("$(VERSION)", "9.9.9").split()[1:]
    subprocess.run(
        [sys.executable, "-m", "towncrier", *words, "--date", "2030-01-02"],
        cwd=tmp_path, check=True, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    head, older = before.split("<!-- releases, newest first -->\n")
    text = file.read_text(encoding="utf-8")
    assert text.startswith(head) and text.endswith(older) and not list((tmp_path / "changelog").iterdir())
    assert [line for line in text.removeprefix(head).removesuffix(older).splitlines() if line][1:] == [
        "## 9.9.9 (2030-01-02)",
        "### Added",
        "- The engine; typed recipes,",
        "and runs that resume.",
        "- The model `aae`.",
        "### Changed",
        "- `lr` was `rate`.",
        "### Fixed",
        "- Codes are finite. Names",
        "may have commas.",
        "- A run ends.",
    ]


def test_the_changelog_has_this_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert text.startswith("# Changelog\n\nUnreleased changes are fragments")
    assert f"\n## {genprior.__version__} (" in text


def test_the_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (cited,) = re.findall(r"^version: (.*)$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.M)
    assert project["version"] == cited == genprior.__version__


def test_the_citation_has_what_the_format_requires() -> None:
    """The keys that CFF 1.2.0 requires, as lines; `cffconvert --validate` checks the rest."""
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    told = dict(re.findall(r"^([a-z-]+): *(.*)$", text, re.M))
    assert {"cff-version": "1.2.0", "title": "genprior", "type": "software", "license": "MIT"}.items() <= told.items()
    assert told["message"] and {"authors", "abstract", "keywords", "references"} <= told.keys()
    assert "authors:\n  - name: the genprior authors\n" in text
    (paper,) = re.findall(r"^    title: (.*)$", text, re.M)
    assert f'"{paper}"' in (ROOT / "docs" / "paper.md").read_text(encoding="utf-8")
