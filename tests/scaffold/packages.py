"""Packages that `genprior new` writes, made to look installed: their sources and metadata are on the path."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import genprior
from genprior.cli.scaffold import Names, names_of, new_kinds, write_package

__all__ = ["KINDS_TO_WRITE", "Packages", "packages_below"]

ROOT = Path(genprior.__file__).parents[1]
KINDS_TO_WRITE = new_kinds()


class Packages(NamedTuple):
    """A package of each kind, in a folder of the kind's name."""

    home: Path
    names: dict[str, Names]

    def run(self, *command: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run Python with all packages on its path."""
        sources = [self.home / kind / "src" for kind in self.names]
        paths = [ROOT, ROOT / "plugins", self.home / "metadata", *sources]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths)), "OMP_NUM_THREADS": "1"}
        return subprocess.run(
            [sys.executable, *command],
            cwd=folder or self.home,
            env=environment,
            capture_output=True,
            text=True,
            timeout=280,
        )


def packages_below(home: Path) -> Packages:
    """Write a package of each kind, called `own_<kind>`."""
    names = {kind: names_of(kind, f"own-{kind}") for kind in KINDS_TO_WRITE}
    for kind, each in names.items():
        write_package(each, home / kind)
        about = home / "metadata" / f"{each.module}-0.1.0.dist-info"
        about.mkdir(parents=True)
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {each.distribution}\nVersion: 0.1.0\n")
        (about / "entry_points.txt").write_text(f"[genprior]\n{each.name} = {each.module}\n")
    return Packages(home, names)
