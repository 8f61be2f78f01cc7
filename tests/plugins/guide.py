"""The package of docs/writing-a-plugin.md: what a reader has after copying every block of code of the page."""

from __future__ import annotations

import re
import runpy
import shlex
import sys
import types
from pathlib import Path
from typing import Any

import genprior

__all__ = ["COMMANDS", "FILES", "GUIDE", "guide_module", "run_script"]

GUIDE = (Path(genprior.__file__).parents[1] / "docs" / "writing-a-plugin.md").read_text(encoding="utf-8")
_BLOCKS = re.findall(r"(?:^<!-- file: (\S+) -->\n)?^```(\w+)\n(.*?)^```$", GUIDE, flags=re.DOTALL | re.MULTILINE)


def _files() -> dict[str, str]:
    """The files of the page by name; Python that has no file of its own is appended to the plugin's module."""
    files: dict[str, list[str]] = {}
    for file, language, code in _BLOCKS:
        name = file or ("genprior_cross.py" if language == "python" else None)
        if name:
            files.setdefault(name, []).append(code)
    return {name: "\n\n".join(codes) for name, codes in files.items()}


FILES = _files()
"""The text of each file of the package, by its name."""
COMMANDS = [
    shlex.split(line.removeprefix("$ "))
    for _, language, code in _BLOCKS
    if language == "console" and "cross.toml" in code
    for line in code.splitlines()
]
"""The commands of the section that trains the whole package."""


def guide_module() -> Any:
    """The module of the package, run as it stands, under the name that its tests import it by."""
    module = types.ModuleType("genprior_cross")
    sys.modules[module.__name__] = module  # pydantic looks annotations up there
    exec(compile(FILES["genprior_cross.py"], "docs/writing-a-plugin.md", "exec", dont_inherit=True), module.__dict__)
    return module


def run_script(name: str, folder: Path) -> None:
    """Run a script of the page in the current directory, from a copy in `folder`."""
    path = folder / name
    path.write_text(FILES[name], encoding="utf-8")
    runpy.run_path(str(path))
