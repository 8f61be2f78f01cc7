"""Reads the real images of `--data`: a data set, the data set of a recipe, or a folder or file of images."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from genprior.bench.requests import read_table
from genprior.bench.rescore import Real
from genprior.data.foreign import Images, read_images
from genprior.data.notices import notice
from genprior.errors import ScoreError, did_you_mean, wrong_settings
from genprior.parts import PartConfig
from genprior.recipe.load import load_recipe
from genprior.recipe.shipped import is_recipe
from genprior.registry import Registry

__all__ = ["real_images"]


def real_images(
    text: str | None,
    registry: Registry,
    changes: Sequence[str] = (),
    settings: Sequence[str] = (),
    images: Sequence[Images] = (),
    recipes: Sequence[Path] = (),
) -> Real | None:
    """The real images that the text of `--data` names; None without a text.

    Args:
        text: see `read_real`.
        registry: the registry to find data sets in.
        changes: named changes of the recipes.
        settings: `PATH=VALUE` settings of the recipes.
        images: the images that are compared.
        recipes: the recipes that are compared.

    Raises:
        GenpriorError: it does not exist or is not valid, or nothing that is compared uses what is given.
    """
    real = None if text is None else read_real(text, registry, changes, settings)
    if text is not None and not images:
        raise ScoreError(
            f"--data {text} has no effect on runs, which are compared with the images that they were trained on. Leave "
            "it out, or give a folder or .npz file of images: genprior sample RUN --to FILE.npz draws them"
        )
    if not recipes and (text is None or not is_recipe(Path(text))):
        unused = [*(f"--with {change}" for change in changes), *(f"--set {setting}" for setting in settings)]
        if unused:
            raise ScoreError(
                f"{', '.join(unused)} without effect: no recipe is given here, and a run has the settings that it was "
                "trained with. Leave this out, or give the recipe in the place of its runs"
            )
    return real


def read_real(text: str, registry: Registry, changes: Sequence[str] = (), settings: Sequence[str] = ()) -> Real:
    """The real images that the text of `--data` names.

    Args:
        text: a data set's name, a TOML table of its settings, a recipe (whose rows all have the same data set), or a
            folder or .npz file of images, which is not divided into splits.
        registry: the registry to find data sets in.
        changes: named changes of the recipe.
        settings: `PATH=VALUE` settings of the recipe.

    Raises:
        GenpriorError: it does not exist or is not valid; the message says what is possible.
    """
    if text.lstrip().startswith("{"):
        return Real.of_dataset(read_table(text, "dataset", registry, "--data"))
    if text in registry.names("dataset"):
        try:
            return Real.of_dataset(registry.find("dataset", text).Config())
        except ValidationError as error:
            raise ScoreError(
                f"--data {text}: data set '{text}' has required settings ({wrong_settings(error)}): "
                f"--data '{{ name = \"{text}\", ... }}' (`genprior parts dataset {text}` lists them)"
            ) from None
    path = Path(text)
    if is_recipe(path):
        datas: dict[str, PartConfig] = {}
        for plan in load_recipe(path, changes=changes, settings=settings).plans:
            datas[json.dumps(plan.data.model_dump(mode="json"), sort_keys=True)] = plan.data
        if len(datas) > 1:
            raise ScoreError(f"--data {path}: its rows have {len(datas)} data sets; name one: {'; '.join(datas)}")
        return Real.of_dataset(next(iter(datas.values())))
    if path.is_dir() or path.is_file():
        images = read_images(path)
        if images.left_out:
            notice(f"--data {path}: {len(images.images):,} images are read; left out: {images.left_out}")
        return Real.of_images(images)
    raise ScoreError(
        f"--data {text} is neither a data set nor an existing recipe, folder or .npz file"
        f"{did_you_mean(text, registry.names('dataset'))}"
    )
