"""Writes `docs/llms.txt`: the pages of the documentation, each with its first sentences, for programs that read.

The site has the Markdown of each page beside its HTML, so that links work in the repository and in the site.

    python docs/site/write_llms.py    # writes it
"""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1]
FILE = DOCS / "llms.txt"
SECTIONS = {
    "Start": ["quick-start", "concepts", "how-to", "installation", "python", "gallery"],
    "Recipes and parts": ["recipe", "parts", "writing-a-plugin", "priors", "data", "conditions"],
    "Coming from other libraries": ["coming-from-pythae", "coming-from-torch-fidelity"],
}
"""What stands first; every other page is under "Further"."""
LONG_ENOUGH = 50
"""Characters; a shorter first sentence is followed by the next one."""
HEAD = """\
# genprior

> Generative models whose prior is a choice: a TOML recipe has rows that differ in a prior, a reconstruction error or a
> network; genprior trains each row under each seed, scores it, and compares the rows. Python 3.11, PyTorch, plugins.

Commands: `genprior recipes` lists recipes, `genprior show RECIPE` prints resolved rows, `genprior train RECIPE`
trains, `genprior parts [KIND [NAME]]` lists parts and settings, `genprior schema` prints the JSON schema of recipes. In
Python: `genprior.load_recipe`, `train`, `load_run`. Links are Markdown.
"""


def written() -> str:
    """The text of the file."""
    pages = {file.stem: summary(file) for file in sorted(DOCS.glob("*.md"))}
    named = [page for section in SECTIONS.values() for page in section]
    sections = SECTIONS | {"Further": [page for page in pages if page not in named]}
    blocks = [HEAD]
    for heading, names in sections.items():
        lines = [f"- [{title}]({name}.md): {first}" for name in names for title, first in [pages[name]]]
        blocks.append("\n".join([f"## {heading}", "", *lines]) + "\n")
    return "\n".join(blocks)


def summary(file: Path) -> tuple[str, str]:
    """The title of a page, and what its first sentences say."""
    title, _, rest = file.read_text(encoding="utf-8").partition("\n")
    prose = next(
        (each for each in re.split(r"\n\s*\n", rest) if re.match(r"\s*(?!```)(?:genprior |[A-Z\"`0-9])", each)), ""
    )
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", " ".join(prose.split())).replace("**", "")
    said = ""
    for sentence in re.split(r"(?<=[a-z)`][.:])\s", text):
        said = f"{said} {sentence}".strip()
        if len(said) >= LONG_ENOUGH:
            break
    return title.removeprefix("# "), said.rstrip(":.") + "."


if __name__ == "__main__":
    FILE.write_text(written(), encoding="utf-8")
    print(f"written: {FILE.name}")
