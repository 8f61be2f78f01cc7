"""Every example of docs/python.md runs, one after another."""

from __future__ import annotations

import re
from pathlib import Path

import torch

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.S)


def test_the_examples_run(monkeypatch, tmp_path, clean_session, no_curves, capfd):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    names: dict = {"__name__": "page"}
    for block in BLOCKS:
        exec(compile(block, "docs/python.md", "exec"), names)
    assert names["between"].shape == (3, 5, 1, 16, 16)
    assert names["codes"].shape == (6, 4) and names["codes"].dtype == torch.float32
    assert names["again"].shape == names["same"].shape == (6, 1, 16, 16)
    assert set(names["numbers"]) >= {"classifier_score"}
    assert names["table"].row("A+B+C")
    assert names["new"].shape == (6, 2) and names["density"].shape == (500,)
    assert [part.shape[1] for part in names["drawn"][:2]] == [4, 0]
    assert names["pictures"].shape == (6, 1, 16, 16)
    assert len(names["mine"]) == len(names["gaussian"]) == 2 and 0 <= names["paired"].pvalue <= 1
    assert len(BLOCKS) == 10
    out, err = capfd.readouterr()
    assert "A+B+C: finished in" in err and "my_aae" not in out


def test_the_readme_links_to_the_page():
    assert "(docs/python.md)" in (ROOT / "README.md").read_text(encoding="utf-8")
