"""Helpers of the tests of `genprior bench`: a small recipe, and readers of tables, runs and images."""

from __future__ import annotations

import csv
import io
import json

import torch
from PIL import Image

from ..small import aae

RECIPE = (
    """\
title = "Small"
scores = [{ name = "parzen", samples = 60, validation = 50 }]
[run]
steps = 4
batch = 8
seeds = [0, 1]
ema = 0.5
checkpoint_every = 2
sample_every = 1_000
log_every = 2
[data]
name = "digits"
size = 8
validation = 60
[optimiser.default]
name = "adam"
lr = 1e-2
"""
    + aae()
    + """\
[change.A.model]
prior = { name = "code_generator", noise = 4 }
improves.prior = true
[change.grown.data]
size = 16
[[row]]
label = "AAE"
changes = []
[[row]]
label = "[A]_50% & more"
changes = ["A"]
"""
)
PARZEN = '{ name = "parzen", samples = 60, validation = 50 }'
DIGITS = '{ name = "digits", size = 8, validation = 60 }'
ROWS = ["AAE", "[A]_50% & more"]
NUMBERS = """\
[[number]]
method = "aae"
data = "digits"
metric = "parzen"
value = -12.5
spread = 0.25
paper = "A paper"
where = "Table 7"
source = "read in the paper"
verified = true
[[number]]
method = "something else"
rows = ["[A]_50% & more"]
data = { name = "digits", size = 8 }
metric = "parzen"
value = 99.0
source = "recalled, unverified"
[[number]]
method = "AAE"
data = { name = "digits", size = 28 }
metric = "parzen"
value = 1.0
[[number]]
method = "AAE"
data = "digits"
metric = "classifier_parzen"
value = 2.0
"""


def unscored(folder):
    """Remove the scores below a folder, and the settings that request them."""
    for path in folder.rglob("scores.json"):
        path.write_text("{}")
    for path in folder.rglob("recipe.toml"):
        lines, kept, inside = path.read_text().splitlines(), [], False
        for line in lines:
            inside = line == "[[scores]]" or (inside and not line.startswith("["))
            kept += [] if inside else [line]
        path.write_text("\n".join(kept) + "\n")
    assert "parzen" not in "".join(path.read_text() for path in folder.rglob("recipe.toml"))
    return folder


def unfinished(run, step=2):
    facts = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(facts | {"finished": False, "step": step}))
    for path in (run / "checkpoints").glob("step-*"):
        if int(path.stem.removeprefix("step-").partition(".")[0]) > step:
            path.unlink()
    (run / "metrics.jsonl").unlink()


def values(folder):
    """What training itself measured, by row, in the order of seeds."""
    return {
        row.name: [json.loads((row / f"seed-{k}" / "scores.json").read_text())["parzen"] for k in (0, 1)]
        for row in sorted(folder.iterdir())
        if row.is_dir()
    }


def table_of(call, tmp_path, *arguments):
    result = call("bench", *arguments, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    return json.loads((tmp_path / "out" / "table.json").read_text()), result.stdout


def csv_lines(tmp_path):
    return list(csv.DictReader(io.StringIO((tmp_path / "out" / "table.csv").read_text(encoding="utf-8"))))


def row_of(table, label):
    return next(row for row in table["rows"] if row["label"] == label)


def refused(call, *arguments):
    """The error message of a command: exit code 2, a text, no traceback."""
    result = call("bench", *arguments)
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("error: ") and "Traceback" not in result.output
    return result.stderr


def png_folder(folder, images):
    """Images uint8 [n, c, h, w] as PNG files whose names sort in their order."""
    folder.mkdir(parents=True)
    for place, image in enumerate(images):
        pixels = image.permute(1, 2, 0).numpy()
        Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(folder / f"{place:05d}.png")
    return folder


def noise(n, c=1, size=8, seed=0):
    return torch.randint(256, (n, c, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
