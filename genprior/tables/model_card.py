"""Exports a run as a folder to share: its model, its recipe, and a page that says what it is."""

from __future__ import annotations

import os
import re
from pathlib import Path

from genprior.errors import RunError, system_error
from genprior.pictures.grids import draw_grid
from genprior.runs.export import run_of
from genprior.runs.exported import write_exported
from genprior.runs.exported_files import FILES, is_exported
from genprior.runs.part_errors import naming_parts
from genprior.runs.run import Run
from genprior.storage.files import to_file, whole_folder, write_text
from genprior.tables.columns import tabulate
from genprior.tables.escape import in_markdown, line_in_markdown
from genprior.tables.gather import entry_of

__all__ = ["export_folder", "model_card"]

_SHOWN = 64
"""Images of the grid."""


def export_folder(run: Run | str | Path, folder: str | Path, *, force: bool = False, name: str | None = None) -> None:
    """Write the model of a run as a folder that `load_run` opens anywhere: other machine, other path, without data.

    It holds the weights as they are sampled (`model.safetensors`), the resolved recipe, the scores, and a model card
    (`README.md`) with a grid of samples. Its samples are those of the run, bit for bit. It is written whole or not at
    all.

    Args:
        run: a run, from `genprior.load_run`, or its folder.
        folder: the folder, which does not exist or is empty.
        force: whether a folder that genprior exported before is replaced; one that holds other files never is.
        name: what the card says to load, such as `hf://me/digits`; the folder by default.

    Raises:
        RunError: the folder holds something, or the run has no checkpoint.
        CheckpointError: the checkpoint is damaged.
        SystemFailure: a file cannot be written.
    """
    run, folder = run_of(run), Path(folder)
    _refuse(folder, force)
    try:
        with to_file("write", folder), whole_folder(folder, replace=True) as partial:
            write_exported(run, partial)
            if run.model.makes_images:
                with naming_parts(run.label):
                    draw_grid(run.sample(_SHOWN), partial / "card.png", columns=8)
            card = model_card(run, name or folder.name, has_picture=run.model.makes_images)
            write_text(partial / "README.md", card.replace(_RECIPE, _recipe(partial)))
    except OSError as error:
        raise system_error(error) from error


def _refuse(folder: Path, force: bool) -> None:
    """Refuse to write over what is there."""
    if not os.path.lexists(folder):
        return
    if folder.is_symlink() or not folder.is_dir():
        raise RunError(f"{folder} is no folder, and would be overwritten. Nothing was changed. Give another --to")
    content = sorted(path.name for path in folder.iterdir())
    if not content:
        return
    if not is_exported(folder):
        raise RunError(
            f"{folder} holds {content[0]}, which genprior did not export. Nothing was changed. Give another --to"
        )
    # A link or a folder is not of genprior, whatever its name.
    foreign = [each for each in content if each not in FILES or not _is_plain(folder / each)]
    if foreign:
        raise RunError(
            f"{folder} is an exported model and also holds {', '.join(foreign)}, which would be lost. Nothing was "
            "changed. Move what is yours, or give another --to"
        )
    if not force:
        raise RunError(f"{folder} is an exported model already; give another --to, or --force to replace it")


def _is_plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


_RECIPE = "\0recipe\0"


def _recipe(folder: Path) -> str:
    """The recipe in a block of code, which none of its lines can end."""
    text = (folder / "recipe.toml").read_text(encoding="utf-8")
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence}toml\n{text.rstrip()}\n{fence}"


def model_card(run: Run, name: str, *, has_picture: bool = True) -> str:
    """The page of an exported model, as Markdown with the header that the Hugging Face hub reads.

    Args:
        run: the run.
        name: the folder, or what loads it.
        has_picture: whether `card.png` is beside it.
    """
    plan, facts = run.plan, run.facts
    parts = [("model", plan.model), *((role, part) for role, part in dict(plan.model).items() if hasattr(part, "part"))]
    chosen = dict(parts)
    prior = chosen.get("fitted_prior") or chosen.get("prior")
    heading = line_in_markdown(plan.title or "A model of genprior")
    shape = " x ".join(map(str, run.image_shape))
    lines = [
        "---",
        "library_name: genprior",
        "pipeline_tag: unconditional-image-generation",
        "tags: [genprior, generative-model]",
        "# license: choose one, such as mit; genprior sets none",
        "---",
        "",
        f"# {heading}: {line_in_markdown(run.label)}",
        "",
        f"A generative model of images ({shape}), trained with genprior on data set "
        f"`{plan.data.name}`, seed {run.seed}, {run.step:,} steps.",
        "",
        f"- Model `{plan.model.name}`: {in_markdown(plan.model.part.summary())}",
    ]
    if prior is not None:
        lines.append(f"- Prior `{prior.name}`: {in_markdown(prior.part.summary())}")
    if run.classes:
        lines.append(f"- Classes: {line_in_markdown(', '.join(run.classes))}")
    lines += ["", *(["![Samples](card.png)", ""] if has_picture else [])]
    lines += ["## Use", "", "```python", "import genprior", "", f"run = genprior.load_run({name!r})"]
    lines += ["images = run.sample(100)  # uint8 [100, c, h, w]" if has_picture else "run.plan", "```", ""]
    lines += [f"On the command line: `genprior sample {name}`, `genprior bench {name}`.", ""]
    lines += ["## Scores", "", _scores(run), "", "## Recipe", "", _RECIPE, "", "## Versions", ""]
    versions = {**facts.get("versions", {}), **facts.get("plugins", {})}
    lines += [f"- {in_markdown(str(key))}: {in_markdown(str(value))}" for key, value in versions.items()]
    if "hardware" in facts:
        lines.append(f"- device: {in_markdown(str(facts['hardware'].get('device', '')))}")
    lines += ["", "## Licence", "", "Not stated. Whoever shares the model chooses one, in the header of this page."]
    return "\n".join(lines) + "\n"


def _scores(run: Run) -> str:
    if not run.scores:
        return "None were measured."
    return tabulate("Scores", [entry_of(run, run.label)]).as_markdown(heading=False).rstrip()
