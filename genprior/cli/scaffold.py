"""Writes the package of a new part: files of the folder `templates`, in which the names are filled in.

`templates/package` holds the files of every package, and a folder for each kind those that differ. A template
`part.py.template` is a file of Python in which `$name` and the like stand for the names of the new part.
"""

from __future__ import annotations

import builtins
import importlib.util
import keyword
import os
import re
from importlib import metadata
from pathlib import Path
from string import Template
from typing import NamedTuple

from packaging.utils import canonicalize_name
from packaging.version import Version

from genprior.errors import PluginError, did_you_mean, visible
from genprior.storage.files import whole_folder
from genprior.version import __version__

__all__ = ["Names", "names_of", "new_kinds", "write_package"]

TEMPLATES = Path(__file__).with_name("templates")
ENDING = ".template"
SHARED = "package"
"""The folder of the templates that every package has."""
INSERTS = {"steps": "steps.md", "files": "files.md"}
"""Texts that a kind adds to the README, by the name that stands there for them."""
LONGEST = 40
"""The most characters of a name, so that the lines of the package keep their length."""
ALIASES = {"tracker": "hook", "data_set": "dataset", "optimizer": "optimiser"}
"""Other words for kinds."""


class Names(NamedTuple):
    """What a new package and its part are called."""

    kind: str
    """The kind of the templates."""
    name: str
    """The part's name in recipes, and that of the entry point."""
    part: str
    """The class."""

    @property
    def part_kind(self) -> str:
        """The kind of the part: a fitted prior is a prior."""
        return "prior" if self.kind == "fitted_prior" else self.kind

    @property
    def module(self) -> str:
        """The module."""
        return f"genprior_{self.name}"

    @property
    def distribution(self) -> str:
        """The package, as pip names it."""
        return str(canonicalize_name(self.module))


def new_kinds() -> list[str]:
    """The kinds of parts for which there are templates."""
    return sorted(path.name for path in TEMPLATES.iterdir() if path.is_dir() and path.name != SHARED)


def names_of(kind: str, name: str) -> Names:
    """The names of a new package.

    Args:
        kind: a kind of parts, or `fitted_prior`.
        name: the part's name as a user gives it: letters, digits, hyphens and underscores.

    Raises:
        PluginError: there is no such kind, the name is none, or an installed part or package has it.
    """
    kind = ALIASES.get(kind.replace("-", "_"), kind.replace("-", "_"))
    if kind not in new_kinds():
        raise PluginError(f"there is no kind of parts named '{visible(kind)}'{did_you_mean(kind, new_kinds())}")
    plain = name.replace("-", "_")
    if not re.fullmatch("[a-z]([a-z0-9_]*[a-z0-9])?", plain) or keyword.iskeyword(plain) or len(plain) > LONGEST:
        raise PluginError(_wrong_name(kind, name))
    if plain.startswith("genprior_"):
        raise PluginError(
            f"NAME is the part's name in recipes, and its package is called genprior-NAME: leave 'genprior' out, as in "
            f"`genprior new {kind} {plain.removeprefix('genprior_')}`"
        )
    names = Names(kind, plain, _class_of(kind, plain))
    _refuse_taken(names)
    return names


def _wrong_name(kind: str, name: str) -> str:
    """The message about a name that recipes, Python or pip would not take."""
    words = re.sub("(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    closest = re.sub("[^a-z0-9]+", "_", words).strip("_")[:LONGEST].strip("_")
    closest = re.sub("^[0-9_]+", "", closest)
    better = f"my_{closest}" if keyword.iskeyword(closest) else closest
    return (
        f"'{visible(name)}' cannot be the name of a part: a name has at most {LONGEST} lower-case letters, digits and "
        "underscores (or hyphens, which become underscores), begins with a letter, ends with a letter or a digit, and "
        f"is no keyword of Python{f', such as `genprior new {kind} {better}`' if better else ''}"
    )


def _class_of(kind: str, name: str) -> str:
    """The class of a name: that in capitals; with the kind after it, where the module has such a word already."""
    plain = "".join(word.capitalize() for word in name.split("_"))
    code = _template(kind, "part.py")
    if re.search(rf"\b{plain}\b", code) or plain in vars(builtins):
        return plain + "".join(word.capitalize() for word in kind.split("_"))
    return plain


def _refuse_taken(names: Names) -> None:
    """Refuse a name that is used by an installed part, plugin or module.

    Raises:
        PluginError: says who has it.
    """
    from genprior.registry import GROUP, installed  # imports torch, which completion in a shell does not wait for

    registry, kind = installed(), names.part_kind
    if (kind, names.name) in registry.clashes:
        raise PluginError(registry.clash(kind, names.name))
    if names.name in registry.names(kind):
        origin = registry.origin(registry.find(kind, names.name))
        raise PluginError(
            f"there is a {kind} '{names.name}' already, of {origin}, and recipes could use neither of two; choose "
            f"another name, or uninstall that package. `genprior parts {kind}` lists the names that are taken"
        )
    for entry in metadata.entry_points(group=GROUP):
        if entry.name == names.name:
            raise PluginError(
                f"there is a plugin '{names.name}' already, the module {entry.value}: choose another name, or add a "
                f"{kind} to that module"
            )
    if importlib.util.find_spec(names.module) is not None:
        raise PluginError(
            f"there is a module {names.module} already, which the package would hide or not be found for: choose "
            "another name, or uninstall the package of that module"
        )


def write_package(names: Names, folder: Path) -> list[Path]:
    """Write the package into a new folder, whole or not at all.

    Args:
        names: what it is called.
        folder: does not exist yet; its parents are made.

    Returns:
        The files, relative to the folder.

    Raises:
        PluginError: the folder exists.
        OSError: it cannot be written; nothing is left.
    """
    if os.path.lexists(folder):
        raise PluginError(
            f"{visible(str(folder))} exists already, and nothing is overwritten: choose another folder with --out, or "
            "remove it"
        )
    files = _files(names)
    with whole_folder(folder) as partial:
        for path, text in files.items():
            (partial / path).parent.mkdir(parents=True, exist_ok=True)
            (partial / path).write_text(text, encoding="utf-8")
    return list(files)


def _files(names: Names) -> dict[Path, str]:
    """The text of each file of the package."""
    values = {
        "kind": names.part_kind,
        "what": {"dataset": "data set"}.get(names.kind, names.kind.replace("_", " ")),
        "name": names.name,
        "part": names.part,
        "module": names.module,
        "distribution": names.distribution,
        "requires": f"genprior{_versions()}",
    }
    for key, file in INSERTS.items():
        values[key] = Template(_template(names.kind, file)).substitute(values)
    places = {
        "part.py": f"src/{names.module}.py",
        "test.py": f"tests/test_{names.name}.py",
        "recipe.toml": f"{names.name}.toml",
    }
    files = {}
    for path in sorted((*(TEMPLATES / SHARED).iterdir(), *(TEMPLATES / names.kind).iterdir())):
        file = path.name.removesuffix(ENDING)
        if path.name.endswith(ENDING) and file not in INSERTS.values():
            text = Template(path.read_text(encoding="utf-8")).substitute(values)
            files[Path(places.get(file, file))] = text
    return files


def _template(kind: str, file: str) -> str:
    """The text of a template; empty if the kind has none of this name."""
    path = TEMPLATES / kind / f"{file}{ENDING}"
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _versions() -> str:
    """The versions of genprior for which the package is written: from this one to before the next that may break it."""
    major, minor = Version(__version__).release[:2]
    return f">={major}.{minor},<{f'{major}.{minor + 1}' if major == 0 else major + 1}"
