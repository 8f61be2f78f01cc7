"""What is fuzzed: for each target how an input is drawn, and what genprior does with it."""

from __future__ import annotations

import csv
import functools
import hashlib
import io
import json
import shutil
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save

import genprior
from genprior.data.foreign import read_images
from genprior.recipe.load import load_recipe
from genprior.registry import installed
from genprior.runs.find import find_runs, one_run
from genprior.runs.run import load_run
from genprior.tables.gather import table_below

from . import mutations as m

ROOT = Path(genprior.__file__).resolve().parents[1]
RECIPES = tuple(sorted((ROOT / "recipes").rglob("*.toml")))
SMALL = ROOT / "tests" / "faults" / "injection" / "recipes"


@dataclass(frozen=True)
class Target:
    """A kind of input."""

    name: str
    suffix: str
    draw: Callable[[Random, Workbench], bytes]
    """An input: the content of a file, or an argument."""
    run: Callable[[bytes, Path, Workbench], object]
    """Give the input to genprior in an empty folder."""


class Workbench:
    """Small finished runs, made once, from which inputs are drawn."""

    def __init__(self, folder: Path) -> None:
        """Train the runs in a folder; what is imported on the way may write elsewhere, so this is not guarded."""
        self.folder = folder
        self.labels = self._trained("labels", "scores=[]")
        """A finished run of few labels, in a folder with its table."""
        self.captions = self._trained("captions")
        """A finished run of a model that reads sentences."""
        load_run(self.labels).sample(2)
        load_run(self.captions).sample(2, text="a red seven")

    def _trained(self, name: str, *settings: str) -> Path:
        recipe = load_recipe(SMALL / f"{name}.toml", settings=["run.hooks.pictures.enabled=false", *settings])
        genprior.train(recipe, out=self.folder / name, jobs=1, device="cpu")
        run = self.folder / name / "base" / "seed-0"
        (run / "scores.json").write_text('{"error_rate": 91.0}\n', encoding="utf-8")
        return run


# ---------------------------------------------------------------------------------------------------------------------
# Recipes and settings
# ---------------------------------------------------------------------------------------------------------------------


@functools.cache
def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _draw_recipe(random: Random, bench: Workbench) -> bytes:
    text = _text(random.choice(RECIPES))
    if random.random() < 0.6:
        text = m.as_toml(m.mutated_tree(random, tomllib.loads(text)))
        if random.random() < 0.8:
            return text.encode("utf-8", "surrogatepass")
    if random.random() < 0.1:
        return m.mutated_bytes(random, text.encode())
    return m.mutated_text(random, text, m.TOML_TOKENS).encode("utf-8", "surrogatepass")


def _run_recipe(content: bytes, folder: Path, bench: Workbench) -> None:
    path = folder / "recipe.toml"
    path.write_bytes(content)
    for plan in load_recipe(path, changes=("quick",) if content.count(b"quick") and len(content) % 2 else ()).plans:
        # What is accepted can be written and read again.
        written = tomllib.loads(plan.as_toml())
        assert not plan.differences(written)


_KEYS = (
    "run.steps", "run.seeds", "run.batch", "run.ema", "run.labels", "run.hooks.pictures.samples", "run", "data.name",
    "data.size", "data", "model.name", "model.prior.name", "model.prior", "model.encoder.hidden", "model", "title",
    "scores", "optimiser.default.lr", "optimiser.default.schedule", "optimiser.default.betas", "optimiser.encoder.lr",
    "optimiser", "label", "change", "row", "change.a.run.steps", "model.reconstruction.layer", "a.b.c.d", '""', '"a.b"',
)  # fmt: skip
_VALUES = (
    "1", "0", "-1", "1.5", "nan", "inf", "true", "[]", "{}", "[1,2]", '"x"', '{ name = "gaussian" }', '{ name = 1 }',
    '[{ name = "fid" }]', '[["a"]]', "9223372036854775808", "1979-05-27", "[0,0]", '"digits"', '"aae"', "[0.9, 0.1]",
)  # fmt: skip


def _draw_setting(random: Random, bench: Workbench) -> bytes:
    text = f"{random.choice(_KEYS)}={random.choice(_VALUES)}"
    if random.random() < 0.3:
        text = f"{random.choice(_KEYS)}={m.as_toml({'a': m.value(random)})[6:-1]}"
    if random.random() < 0.5:
        text = m.mutated_text(random, text, m.TOML_TOKENS)
    return text.encode("utf-8", "surrogatepass")


def _run_setting(content: bytes, folder: Path, bench: Workbench) -> None:
    text = content.decode("utf-8", "surrogatepass")
    load_recipe(SMALL / "labels.toml", settings=[text])


# ---------------------------------------------------------------------------------------------------------------------
# Runs
# ---------------------------------------------------------------------------------------------------------------------

RECORDS = ("run.json", "scores.json", "metrics.jsonl", "recipe.toml", "table.json", "labelled.json")


def _draw_record(random: Random, bench: Workbench) -> bytes:
    """The name of a file, a line end, and the content that it gets."""
    name = random.choice(RECORDS)
    run = bench.labels
    path = run.parents[1] / name if name == "table.json" else run / name
    original = path.read_bytes()
    return name.encode() + b"\n" + _mutated_record(random, name, original)


def _mutated_record(random: Random, name: str, original: bytes) -> bytes:
    kind = random.random()
    if kind < 0.15:
        return m.mutated_bytes(random, original)
    if kind < 0.35:
        tokens = m.TOML_TOKENS if name.endswith("toml") else m.JSON_TOKENS
        return m.mutated_text(random, original.decode(), tokens).encode("utf-8", "surrogatepass")
    if name.endswith("toml"):
        return m.as_toml(m.mutated_tree(random, tomllib.loads(original.decode()))).encode("utf-8", "surrogatepass")
    if name.endswith("jsonl"):
        lines: list[Any] = m.mutated_tree(random, [json.loads(line) for line in original.splitlines()])
        return b"\n".join(map(m.as_json, lines if isinstance(lines, list) else [lines])) + b"\n"
    return m.as_json(m.mutated_tree(random, json.loads(original)))


def _run_record(content: bytes, folder: Path, bench: Workbench) -> None:
    line, _, body = content.partition(b"\n")
    name = _named(line, RECORDS)
    table = folder / "table"
    shutil.copytree(bench.labels.parents[1], table)
    run = table / "base" / "seed-0"
    ((table if name == "table.json" else run) / name).write_bytes(body)
    _use_runs(table, run)


def _use_runs(table: Path, run: Path) -> None:
    """What `show`, `bench`, `sample` and the check before training do with the runs in a folder."""
    from genprior.cli.print_run import print_run
    from genprior.runs.folder import RunFolder

    raised: list[genprior.GenpriorError] = []

    def attempt(call: Callable[[], object]) -> None:
        try:
            call()
        except genprior.GenpriorError as error:
            raised.append(error)

    plan = load_recipe(SMALL / "labels.toml", settings=["run.hooks.pictures.enabled=false", "scores=[]"]).plans[0]
    attempt(lambda: find_runs([table], []))
    attempt(lambda: table_below([table]).as_markdown())
    attempt(lambda: RunFolder(run).finished(plan))
    attempt(lambda: RunFolder(run).claim(plan))
    attempt(lambda: RunFolder(run).check_data(None))
    attempt(lambda: RunFolder(run).metrics())
    attempt(lambda: print_run(one_run(table)))
    attempt(lambda: load_run(run).sample(2))
    if raised:
        raise raised[0]


_RIGHT = b"checksum-of-the-tensors"
"""Stands for the checksum in an input, so that it does not depend on the machine that trained the run."""


def _without_checksum_of_facts(path: Path) -> bytes:
    """The tensors' file as older versions wrote it, so that a changed JSON file is read beyond its checksum."""
    return save(load_file(path))


def _draw_checkpoint(random: Random, bench: Workbench) -> bytes:
    """The JSON of a checkpoint, a zero byte, and its tensors, or nothing for those of the run; one is changed."""
    path = load_run(bench.labels).checkpoint
    assert path is not None
    recorded = hashlib.sha256(path.read_bytes()).hexdigest().encode()
    tensors = _without_checksum_of_facts(path)
    facts = path.with_suffix(".json").read_bytes().replace(recorded, _RIGHT)
    kind = random.random()
    if kind < 0.4:
        return m.as_json(m.mutated_tree(random, json.loads(facts))) + b"\0"
    if kind < 0.6:
        return m.mutated_text(random, facts.decode(), m.JSON_TOKENS).encode("utf-8", "surrogatepass") + b"\0"
    length = int.from_bytes(tensors[:8], "little")
    if kind < 0.85:
        header = m.as_json(m.mutated_tree(random, json.loads(tensors[8 : 8 + length])))
        tensors = len(header).to_bytes(8, "little") + header + tensors[8 + length :]
    else:
        tensors = m.mutated_bytes(random, tensors)
    return facts + b"\0" + tensors


def _run_checkpoint(content: bytes, folder: Path, bench: Workbench) -> None:
    from genprior.engine.build import build_model
    from genprior.engine.divergence import Guard
    from genprior.engine.recorder import Recorder
    from genprior.engine.state import TrainingState

    facts, _, tensors = content.partition(b"\0")
    run = folder / "run"
    shutil.copytree(bench.labels, run)
    found = load_run(run)
    path = found.checkpoint
    assert path is not None
    # A model of another run reads the file too, as training does when it resumes.
    info = genprior.DataInfo((1, 8, 8), tuple("0123456789"), labelled=40)
    model = build_model(found.plan.model, info, 0)
    path.write_bytes(tensors or _without_checksum_of_facts(path))
    checksum = hashlib.sha256(path.read_bytes()).hexdigest().encode()
    path.with_suffix(".json").write_bytes(facts.replace(_RIGHT, checksum))
    errors = []
    guard = Guard(torch.device("cpu"))
    state = TrainingState(model, {}, None, Recorder(), guard)
    for use in (lambda: found.sample(2), lambda: state.restore(path, torch.device("cpu")), lambda: found.classes):
        try:
            use()
        except genprior.GenpriorError as error:
            errors.append(error)
    if errors:
        raise errors[0]


def _draw_embedder(random: Random, bench: Workbench) -> bytes:
    original = (bench.captions / "embedder.safetensors").read_bytes()
    length = int.from_bytes(original[:8], "little")
    if random.random() < 0.5:
        return m.mutated_bytes(random, original)
    header = m.as_json(m.mutated_tree(random, json.loads(original[8 : 8 + length])))
    return len(header).to_bytes(8, "little") + header + original[8 + length :]


def _run_embedder(content: bytes, folder: Path, bench: Workbench) -> None:
    shutil.copytree(bench.captions, folder / "run")
    (folder / "run" / "embedder.safetensors").write_bytes(content)
    load_run(folder / "run").sample(2, text="a red seven")


def _draw_sentence(random: Random, bench: Workbench) -> bytes:
    words = ["a", "red", "seven", "on", "white", *m.TEXTS, "\u0661", "\U0001f600" * 50, "word " * 2000]
    return " ".join(random.choice(words) for _ in range(random.randrange(6))).encode("utf-8", "surrogatepass")


def _run_sentence(content: bytes, folder: Path, bench: Workbench) -> None:
    text = content.decode("utf-8", "surrogatepass")
    run = _loaded(bench.captions)
    assert run.sample(2, text=[text, "a red seven"]).shape[0] == 2


@functools.cache
def _loaded(folder: Path) -> Any:
    return load_run(folder)


# ---------------------------------------------------------------------------------------------------------------------
# A user's images and captions
# ---------------------------------------------------------------------------------------------------------------------


def _arrays(random: Random) -> dict[str, Any]:
    n = random.choice((0, 1, 4, 20))
    draw = np.random.default_rng(random.randrange(2**32))
    shape = random.choice(
        ((n, 8, 8), (n, 8, 8, 3), (n, 1, 8, 8), (n, 3, 8, 3), (n,), (n, 8, 8, 3, 1), (n, 0, 8), (8, 8))
    )
    images = draw.integers(0, 256, shape)
    kind = random.choice(("u1", "u1", "u1", "i8", "f4", "f8", "f2", "?", "c8", "U3", "S3", "M8[s]", "V4", ">u2", "g"))
    found: dict[str, Any] = {random.choice(("images", "images", "arr_0", "x", "")): images.astype("i4").astype(kind)}
    if random.random() < 0.5:
        labels = draw.integers(-1, 5, random.choice((n, n, n + 1, (n, 1))))
        found["labels"] = labels.astype(random.choice(("i8", "i4", "u8", "f4", "U2", "?", "c8", "M8[s]")))
    if random.random() < 0.4:
        found["classes"] = np.array([random.choice(m.TEXTS).encode("utf-8", "replace").decode() for _ in range(5)])
    if random.random() < 0.3:
        found["captions"] = np.array(["a b", "c"] * ((n + 1) // 2))[:n].reshape(random.choice(((-1,), (-1, 1))))
    return found


def _draw_archive(random: Random, bench: Workbench) -> bytes:
    file = io.BytesIO()
    arrays = _arrays(random)
    if random.random() < 0.1:
        np.save(file, next(iter(arrays.values())))
    else:
        random.choice((np.savez, np.savez_compressed))(file, **arrays)
    return m.mutated_bytes(random, file.getvalue()) if random.random() < 0.6 else file.getvalue()


def _data(settings: dict[str, Any]) -> Any:
    return installed().configure("dataset", settings).make()


def _run_archive(content: bytes, folder: Path, bench: Workbench) -> None:
    path = folder / "images.npz"
    path.write_bytes(content)
    try:
        _data({"name": "arrays", "path": str(path), "size": 8}).load("train")
    finally:
        read_images(path)


def _picture(random: Random) -> tuple[bytes, str]:
    kind = random.choice(("png", "png", "gif", "jpg", "bmp", "ppm", "tiff", "webp"))
    mode = random.choice(("L", "RGB", "RGBA", "P", "1", "I;16", "F", "CMYK"))
    image = Image.new(mode, (random.choice((1, 8, 9)), 8), 0)
    file = io.BytesIO()
    try:
        image.save(file, {"jpg": "jpeg"}.get(kind, kind))
    except (OSError, KeyError, ValueError):  # formats do not have all modes
        Image.new("L", (8, 8), 7).save(file, "png")
    return file.getvalue(), kind


def _draw_picture(random: Random, bench: Workbench) -> bytes:
    """The ending of a file, a line end, and its content."""
    content, kind = _picture(random)
    if random.random() < 0.1:
        kind = random.choice(("png", "tif", "gif"))
    return kind.encode() + b"\n" + (m.mutated_bytes(random, content) if random.random() < 0.9 else content)


def _run_picture(content: bytes, folder: Path, bench: Workbench) -> None:
    line, _, body = content.partition(b"\n")
    kind = _named(line, ("png", "jpg", "gif", "bmp", "ppm", "tif", "tiff", "webp"))
    images = folder / "images"
    images.mkdir()
    for place in range(3):
        Image.new("L", (8, 8), 40 * place).save(images / f"{place}.png")
    (images / f"3.{kind}").write_bytes(body)
    try:
        _data({"name": "folder", "path": str(images), "size": 8, "test_fraction": 0.3}).load("train")
    finally:
        read_images(images)


CAPTIONS = ("captions.jsonl", "metadata.csv", "metadata.jsonl")


def _named(line: bytes, names: Sequence[str]) -> str:
    """The file that the first line of an input names; mutated bytes that name none of them choose one."""
    name = line.decode("utf-8", "replace")
    return name if name in names else names[sum(line) % len(names)]


def _draw_captions(random: Random, bench: Workbench) -> bytes:
    """The name of a caption file, a line end, and its content."""
    name = random.choice(CAPTIONS)
    rows = [{"file_name": f"{place}.png", "text": f"image {place}"} for place in range(4)]
    if name.endswith("csv"):
        file = io.StringIO()
        tree = m.mutated_tree(random, [list(rows[0]), *(list(row.values()) for row in rows)])
        lines = [line if isinstance(line, list) else [line] for line in (tree if isinstance(tree, list) else [tree])]
        csv.writer(file).writerows(lines)
        text = file.getvalue()
    else:
        tree = m.mutated_tree(random, rows)
        text = "\n".join(json.dumps(row) for row in (tree if isinstance(tree, list) else [tree]))
    if random.random() < 0.4:
        text = m.mutated_text(random, text, (*m.JSON_TOKENS, "../0.png", "\t", ";", '""', "file_name"))
    content = text.encode("utf-8", "surrogatepass")
    return name.encode() + b"\n" + (m.mutated_bytes(random, content) if random.random() < 0.1 else content)


def _run_captions(content: bytes, folder: Path, bench: Workbench) -> None:
    name, _, body = content.partition(b"\n")
    images = folder / "images"
    images.mkdir()
    for place in range(4):
        Image.new("L", (8, 8), 40 * place).save(images / f"{place}.png")
    (images / _named(name, CAPTIONS)).write_bytes(body)
    data = _data({"name": "folder", "path": str(images), "size": 8, "test_fraction": 0.3})
    data.files_hash()
    data.load("train")


TARGETS = {
    target.name: target
    for target in (
        Target("recipe", ".toml", _draw_recipe, _run_recipe),
        Target("setting", ".txt", _draw_setting, _run_setting),
        Target("record", ".txt", _draw_record, _run_record),
        Target("checkpoint", ".bin", _draw_checkpoint, _run_checkpoint),
        Target("embedder", ".safetensors", _draw_embedder, _run_embedder),
        Target("sentence", ".txt", _draw_sentence, _run_sentence),
        Target("archive", ".npz", _draw_archive, _run_archive),
        Target("picture", ".bin", _draw_picture, _run_picture),
        Target("captions", ".txt", _draw_captions, _run_captions),
    )
}
