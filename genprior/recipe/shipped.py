"""The recipes that come with genprior, and the files that names of recipes stand for. Imports no torch and no plugin.

A wheel has them in the package, as `genprior/recipes`; in a clone they are the folder `recipes` beside it. The name of
a recipe is its path there without the ending, such as `table3_ablation` or `gans/began`.
"""

from __future__ import annotations

import functools
import warnings
from pathlib import Path

from genprior.errors import GenpriorWarning, RecipeError, did_you_mean, did_you_mean_path

__all__ = [
    "command_name", "default_recipe", "folder_in_place", "is_recipe", "no_recipe", "recipe_file", "recipe_name",
    "shipped_folder", "shipped_recipe", "shipped_recipes",
]  # fmt: skip

_FOLDER = "recipes"
_PACKAGE = Path(__file__).parents[1]


def shipped_folder() -> Path | None:
    """The folder of the recipes that come with genprior; None if the installation lacks them."""
    clone = _PACKAGE.parent
    if (_PACKAGE / _FOLDER).is_dir():
        return _PACKAGE / _FOLDER
    # Beside an installed package, a folder `recipes` is of another package.
    return clone / _FOLDER if (clone / "pyproject.toml").is_file() and (clone / _FOLDER).is_dir() else None


@functools.cache
def shipped_recipes() -> dict[str, Path]:
    """The files of the recipes that come with genprior, by name."""
    folder = shipped_folder()
    found = folder.rglob("*.toml") if folder is not None else ()
    names = {path.relative_to(folder).with_suffix("").as_posix(): path for path in found if folder is not None}
    return dict(sorted(names.items()))


def shipped_recipe(name: str) -> Path:
    """The file of a recipe that comes with genprior.

    Raises:
        RecipeError: there is none of this name; the message lists all.
    """
    found = shipped_recipes().get(_as_name(Path(name)) or name)
    if found is None:
        near = _near(Path(name)) or did_you_mean(name, shipped_recipes())
        raise RecipeError(f"there is no recipe of genprior named '{name}'{near}")
    return found


def recipe_file(path: Path) -> Path:
    """The file that the path or the name of a recipe stands for; a path of which there is no recipe, unchanged.

    A file or folder of that path goes first. Else a name stands for `NAME.toml` or `recipes/NAME.toml` in the current
    folder, with a warning where it is another recipe, and else for the recipe of genprior.
    """
    name = _as_name(path)
    if name is None:
        return path
    shipped = shipped_recipes()[name]
    local = _local(name) if path.as_posix() == name else None
    if local is None:
        return shipped
    if local.read_bytes() != shipped.read_bytes():
        warnings.warn(
            GenpriorWarning(f"'{path}' is read from {local} in the current folder, not from genprior's own {shipped}"),
            stacklevel=2,
        )
    return local


def default_recipe(name: str) -> Path:
    """The recipe of a command where none is given: `recipes/NAME.toml` of the current folder, else genprior's own.

    Raises:
        RecipeError: there is neither.
    """
    local = Path(_FOLDER, f"{name}.toml")
    return local if local.is_file() else shipped_recipe(name)


def is_recipe(path: Path) -> bool:
    """Whether a path is that of a TOML file, or the name of a recipe of genprior and of no file or folder."""
    return path.suffix == ".toml" or _as_name(path) is not None


def command_name(recipe: str) -> str:
    """A recipe such as `recipes/gans/began.toml` as a command takes it here: the path if it exists, else its name."""
    name = recipe_name(recipe)
    return name if name in shipped_recipes() and not Path(recipe).exists() else recipe


def recipe_name(recipe: str) -> str:
    """The name of a recipe that is given as such, or as `recipes/NAME.toml`; other paths as they are."""
    path = Path(recipe).as_posix()
    own = path.startswith(f"{_FOLDER}/")
    return path.removeprefix(f"{_FOLDER}/").removesuffix(".toml") if own else path


def _as_name(path: Path) -> str | None:
    """The name of a recipe of genprior that a path is; None if it is none, or that of a file or folder.

    `recipes/NAME.toml`, as the documentation writes it, is a name too where there is no folder `recipes`.
    """
    try:
        if path.exists():
            return None
        name = path.as_posix() if Path(_FOLDER).exists() else recipe_name(str(path))
    except (OSError, ValueError):  # a path that no file can have
        return None
    return name if name in shipped_recipes() else None


def _local(name: str) -> Path | None:
    """The file of that name in the current folder."""
    files = (Path(f"{name}.toml"), Path(_FOLDER, f"{name}.toml"))
    return next((each for each in files if each.is_file()), None)


def _near(path: Path) -> str:
    """The end of an error message: the recipes of genprior with nearly this name; empty if there is none."""
    text = did_you_mean_path(path, map(Path, shipped_recipes()), "recipes")
    return text if text.startswith(";") else ""


def folder_in_place(folder: Path) -> RecipeError:
    """The error that a recipe is a folder; it names genprior's own recipe of this name, else recipes in the folder."""
    text = f"{folder} is a folder, and a recipe is a file"
    own = shipped_recipes().get(folder.as_posix())
    if own is not None:
        return RecipeError(f"{text}; genprior's own recipe of this name is {own}: give that path, or rename the folder")
    return RecipeError(text + did_you_mean_path(folder, folder.rglob("*.toml"), "recipes"))


def no_recipe(file: Path) -> RecipeError:
    """The error that there is no such recipe; it names similar ones in its folder and those below, else all of them."""
    home = file.parent
    text = f"there is no recipe file {file}"
    own = _near(file).replace("?", " (a recipe that comes with genprior)?")
    if not home.is_dir():
        return RecipeError(f"{text}, nor a folder {home}{own or '; give the path of a .toml file'}")
    # Of the current folder only the folder `recipes` is searched: it may be large.
    below = [home / _FOLDER] if home == Path() else [home]
    found = {*home.glob("*.toml"), *(each for folder in below for each in folder.rglob("*.toml"))}
    found -= {home / "pyproject.toml"}
    near = did_you_mean_path(file, found, "recipes")
    if near.startswith(";"):
        return RecipeError(text + near)
    if own:
        return RecipeError(text + own)
    more = "; `genprior recipes` lists those that come with genprior" if home == Path() else ""
    return RecipeError(f"{text}{near}{more}")
