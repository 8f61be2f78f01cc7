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
FRAGMENTS = sorted((ROOT / "changelog").iterdir())
HEADINGS = {"added": "Added", "changed": "Changed", "fixed": "Fixed"}


def test_every_fragment_has_a_name_of_a_kind_and_a_text() -> None:
    assert len(FRAGMENTS) > 100
    for path in FRAGMENTS:
        assert re.fullmatch(r"[a-z0-9_]+\.(added|changed|fixed)\.md", path.name), path.name
        assert path.read_text(encoding="utf-8").strip(), path.name


def test_one_command_builds_the_changelog(tmp_path: Path) -> None:
    pytest.importorskip("towncrier", reason="towncrier is not installed; `make setup` installs it")
    for name in ("pyproject.toml", "CHANGELOG.md", "changelog", "docs/changelog.md.jinja"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        (tmp_path / name).parent.mkdir(exist_ok=True)
        copy(ROOT / name, tmp_path / name)
    file = tmp_path / "CHANGELOG.md"
    older = "\n## 0.0.1 (2020-01-01)\n\n- The first.\n"
    file.write_text(file.read_text(encoding="utf-8") + older, encoding="utf-8")
    command = next(line for line in (ROOT / "Makefile").read_text().splitlines() if "towncrier build" in line)
    words = command.replace("$(VERSION)", "9.9.9").split()[1:]
    subprocess.run(
        [sys.executable, "-m", "towncrier", *words, "--date", "2030-01-02"],
        cwd=tmp_path, check=True, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    text = file.read_text(encoding="utf-8")
    assert text.startswith("# Changelog\n\nUnreleased changes are fragments")
    assert text.endswith(older)
    assert [line for line in text.splitlines() if line.startswith("#")] == [
        "# Changelog", "## 9.9.9 (2030-01-02)", "### Added", "### Changed", "### Fixed", "## 0.0.1 (2020-01-01)",
    ]  # fmt: skip
    assert not list((tmp_path / "changelog").iterdir())
    for path in FRAGMENTS:
        kind = path.name.split(".")[1]
        section = text.split(f"### {HEADINGS[kind]}\n")[1].split("\n## ")[0].split("\n### ")[0]
        words_of_section = section.replace("\n- ", "\n").split()
        assert " ".join(path.read_text(encoding="utf-8").split()) in " ".join(words_of_section), path.name
    listed = [line for line in text.split("## 0.0.1")[0].splitlines() if line.startswith("- ")]
    assert len(listed) >= len(FRAGMENTS)


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
