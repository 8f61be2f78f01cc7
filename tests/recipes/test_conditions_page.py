"""The recipe of the page on conditions trains on a user's own captioned images."""

from __future__ import annotations

import json
import re
from pathlib import Path

from PIL import Image, ImageDraw

from genprior import load_recipe, load_run, train

PAGE = (Path(__file__).parents[2] / "docs" / "conditions.md").read_text(encoding="utf-8")
COLOURS = ("red", "green", "blue", "yellow")


def captioned_shapes(folder):
    """Sixty squares and circles in four colours, with two captions each."""
    folder.mkdir()
    lines = []
    for i in range(60):
        colour, square = COLOURS[i % 4], i % 3 == 0
        picture = Image.new("RGB", (20, 20), "white")
        draw = ImageDraw.Draw(picture)
        (draw.rectangle if square else draw.ellipse)((4, 4, 12 + i % 5, 12 + i % 5), fill=colour)
        picture.save(folder / f"{i:03}.png")
        shape = "square" if square else "circle"
        lines.append({"file_name": f"{i:03}.png", "text": [f"a {colour} {shape}", f"one {shape}, painted in {colour}"]})
    (folder / "captions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def test_the_recipe_of_the_page_trains_on_a_folder_with_captions(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GENPRIOR_DATA", str(tmp_path / "cache"))
    captioned_shapes(tmp_path / "shapes")
    (toml,) = re.findall(r"```toml\n(.*?)```", PAGE, re.S)
    (tmp_path / "mine.toml").write_text(toml, encoding="utf-8")
    recipe = load_recipe("mine.toml", settings=["run.steps=2", "run.batch=8"])
    train(recipe, out="runs/mine", device="cpu", jobs=1)
    run = load_run("runs/mine/shapes/seed-0")
    assert run.sample(3, text="a red square").shape == (3, 3, 16, 16)


def test_every_recipe_and_score_of_the_page_exists():
    recipes = Path(__file__).parents[2] / "recipes"
    for name in re.findall(r"`(\w+\.toml)`", PAGE):
        assert (recipes / name).exists(), name
    listed = "".join(path.read_text(encoding="utf-8") for path in recipes.glob("fig1*.toml"))
    for score in ("label_accuracy", "category_purity", "cluster_error", "caption_accuracy", "style_consistency"):
        assert f"`{score}`" in PAGE and f'"{score}"' in listed
