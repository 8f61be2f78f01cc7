"""The commands into which faults are injected: what there is before, and the command."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from . import process

RECIPES = Path(__file__).parent / "recipes"


@dataclass(frozen=True)
class Scenario:
    """A command in a folder `home`, which holds the runs (`out`), the cache (`cache`) and what else is written."""

    name: str
    title: str
    prepare: Callable[[Path], None]
    arguments: Callable[[Path], list[object]]
    separate: bool = False
    """Whether it starts processes of its own, so that it cannot be a fork."""
    every: int = 1
    """It is disturbed in every so many rounds, if it takes many times as long as the others."""


def _train(recipe: str, *settings: str, jobs: int = 1) -> Callable[[Path], list[object]]:
    given = [each for setting in settings for each in ("--set", setting)]
    return lambda home: [
        "train", RECIPES / f"{recipe}.toml", "--out", home / "out", "--jobs", jobs, "--device", "cpu", *given,
    ]  # fmt: skip


def _with_run(recipe: str, *removed: str) -> Callable[[Path], None]:
    """A finished run of a recipe, which is trained once for all scenarios, without some of its files."""

    def prepare(home: Path) -> None:
        kept = home.parent / f"trained-{recipe}"
        if not kept.exists():
            _run(_train(recipe)(home), home)
            shutil.copytree(home, kept)
        else:
            shutil.copytree(kept, home, dirs_exist_ok=True)
        for name in removed:
            for path in sorted(home.glob(name)):
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    return prepare


def _run(arguments: list[object], home: Path) -> None:
    home.mkdir(parents=True, exist_ok=True)
    ended = process.run(arguments, home / "log", before=process.at_home(home))
    assert ended.code == 0, ended.output
    (home / "log").unlink()


_FEATURES = ("cache/[!c]*",)
"""All of the cache but `classifiers`, the network that scores read, which takes longest to train."""

_REPORT = "run.skip_hook_functions=[]"
_PICTURES = "run.hooks.pictures.enabled=true"
"""Drawing takes ten times as long as the training of these recipes, so that few of the commands draw."""

SCENARIOS = (
    Scenario(
        "labels", "training with two streams, averaged weights, schedule, scores",
        _with_run("labels", "out", *_FEATURES), _train("labels"),
    ),
    Scenario("captions", "training with sentences and a learned prior", lambda home: None, _train("captions")),
    Scenario(
        "scores", "measuring scores of a trained run", _with_run("labels", "out/*/*/scores.json", *_FEATURES),
        _train("labels"),
    ),
    Scenario(
        "table", "the table of finished runs, and its report",
        _with_run("captions", "out/table*", "out/rows.png"), _train("captions", _REPORT), every=4,
    ),
    Scenario(
        "pictures", "training with pictures, curves and the report", lambda home: None,
        _train("captions", _PICTURES, _REPORT), every=12,
    ),
    Scenario(
        "jobs", "training two rows side by side", lambda home: None, _train("pair", jobs=2), separate=True, every=12
    ),
    Scenario(
        "bench", "a score of finished runs, and its table", _with_run("labels"),
        lambda home: ["bench", home / "out", "--score", "classifier_score", "--samples", 20, "--out", home / "bench"],
    ),
    Scenario(
        "sample", "new images", _with_run("captions"),
        lambda home: ["sample", home / "out", "--n", 4, "--text", "a red seven", "--to", home / "new.npz", "--force"],
    ),
    Scenario(
        "figure", "a figure", _with_run("pair"),
        lambda home: [
            "figure", "fig8_codes", home / "out", "--rows", "wide,narrow", "--out", home / "figure", "--force",
        ],
    ),
)  # fmt: skip
