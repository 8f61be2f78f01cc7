"""Draws `docs/images/phases.svg`: the two phases of the paper's model, with the modules that each trains.

    python docs/site/draw_phases.py    # writes it

A test compares the file with this script, and the trained modules with the losses of the model.
"""

from __future__ import annotations

from html import escape
from pathlib import Path

PICTURE = Path(__file__).resolve().parents[1] / "images" / "phases.svg"
TRAINED, FROZEN, LINE, TEXT, PALE = "#2f6f73", "#a5adb8", "#5b6675", "#1f2a37", "#5b6675"
DASHED = f"fill='#fff' stroke='{FROZEN}' stroke-dasharray='4 3'"
PHASES = {
    "regularise": ("encoder", "decoder", "code_critic"),
    "improve_prior": ("prior", "decoder", "image_critic"),
}
"""The modules that each phase trains, in the row A+B+C."""
SAID = {
    "regularise": (
        "Phase 1: regularise",
        "Images are reconstructed; their codes are",
        "made to look like codes of the prior.",
    ),
    "improve_prior": (
        "Phase 2: improve_prior",
        "Images made of the prior's codes are",
        "made to look like real images.",
    ),
}
HIGH, WIDE = 384, 470


def drawing() -> str:
    """The whole picture."""
    wide, high = 2 * WIDE + 20, HIGH + 56
    lines = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {wide} {high}' width='{wide}' height='{high}' "
        "font-family='system-ui, -apple-system, Segoe UI, DejaVu Sans, sans-serif'>",
        "<title>The two phases of the adversarial autoencoder with a learned prior</title>",
        f"<rect width='{wide}' height='{high}' rx='8' fill='#fbfaf6'/>",
        f"<defs><marker id='tip' viewBox='0 0 8 8' refX='7' refY='4' markerWidth='7' markerHeight='7' orient='auto'>"
        f"<path d='M0 0L8 4L0 8z' fill='{LINE}'/></marker></defs>",
    ]
    for at, phase in enumerate(PHASES):
        lines += [f"<g transform='translate({10 + at * WIDE} 0)'>", *panel(phase), "</g>"]
    lines.append(f"<line x1='{wide / 2}' y1='24' x2='{wide / 2}' y2='{HIGH - 8}' stroke='#ddd7c6'/>")
    y = HIGH + 26
    lines += [
        f"<rect x='34' y='{y - 12}' width='26' height='16' rx='4' fill='{TRAINED}'/>",
        text(68, y, "trained in this phase", 13, TEXT),
        f"<rect x='244' y='{y - 12}' width='26' height='16' rx='4' {DASHED}/>",
        text(278, y, "used, but frozen", 13, TEXT),
        text(424, y, "Each training step runs both phases on a batch of images, one after the other.", 13, PALE),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def panel(phase: str) -> list[str]:
    """One phase."""
    title, *said = SAID[phase]
    lines = [text(24, 36, title, 17, TEXT, bold=True)]
    lines += [text(24, 58 + 18 * at, line, 13, PALE) for at, line in enumerate(said)]
    if phase == "regularise":
        lines += [
            text(34, 139, "image x"), arrow(90, 134, 116, 134), box(phase, "encoder", 118, 116),
            arrow(216, 134, 240, 134),
            text(246, 139, "z"), arrow(258, 134, 284, 134), box(phase, "decoder", 286, 116), arrow(384, 134, 402, 134),
            text(406, 139, "x_rec"),
            box(phase, "image_critic", 286, 188), path("M424 146 L424 206 L386 206"), path("M60 146 L60 206 L284 206"),
            text(96, 200, "x and x_rec, compared", 12, PALE), text(96, 222, "in the critic's features (B)", 12, PALE),
            text(34, 299, "noise"), arrow(76, 294, 116, 294), box(phase, "prior", 118, 276), arrow(216, 294, 240, 294),
            text(246, 299, "z_c"), arrow(270, 294, 284, 294), box(phase, "code_critic", 286, 276),
            path("M250 146 L250 252 L335 252 L335 274"),
            text(286, 338, "tells codes of images", 12, PALE), text(286, 354, "from codes of the prior", 12, PALE),
        ]  # fmt: skip
    else:
        lines += [
            text(34, 139, "noise"), arrow(76, 134, 116, 134), box(phase, "prior", 118, 116),
            arrow(216, 134, 240, 134),
            text(246, 139, "z_c"), arrow(270, 134, 284, 134), box(phase, "decoder", 286, 116),
            arrow(384, 134, 402, 134),
            text(406, 139, "x_new"),
            text(98, 172, "code generator (A)", 12, PALE), text(296, 172, "trained too (C)", 12, PALE),
            text(34, 227, "image x"), arrow(90, 222, 116, 222), box(phase, "encoder", 118, 204),
            path("M216 222 L230 222 L230 150 L284 150"),
            text(150, 258, "also x_rec, as a second fake", 12, PALE),
            box(phase, "image_critic", 286, 276), path("M424 146 L424 294 L386 294"), path("M60 234 L60 294 L284 294"),
            text(286, 338, "tells real images", 12, PALE), text(286, 354, "from decoded ones", 12, PALE),
        ]  # fmt: skip
    return lines


def box(phase: str, module: str, x: int, y: int) -> str:
    """A module, filled if the phase trains it."""
    trained = module in PHASES[phase]
    look = f"fill='{TRAINED}'" if trained else DASHED
    label = text(x + 49, y + 23, module, 13, "#fff" if trained else TEXT, middle=True)
    said = f"data-phase='{phase}' data-module='{module}' data-trained='{str(trained).lower()}'"
    return f"<g {said}><rect x='{x}' y='{y}' width='98' height='36' rx='6' {look}/>{label}</g>"


def text(
    x: float, y: float, words: str, size: int = 14, fill: str = TEXT, *, bold: bool = False, middle: bool = False
) -> str:
    """A line of text."""
    more = " font-weight='600'" * bold + " text-anchor='middle'" * middle
    return f"<text x='{x}' y='{y}' font-size='{size}' fill='{fill}'{more}>{escape(words)}</text>"


def arrow(x1: int, y1: int, x2: int, y2: int) -> str:
    """A straight arrow."""
    return path(f"M{x1} {y1} L{x2} {y2}")


def path(line: str) -> str:
    """An arrow along a line."""
    return f"<path d='{line}' fill='none' stroke='{LINE}' stroke-width='1.3' marker-end='url(#tip)'/>"


if __name__ == "__main__":
    PICTURE.write_text(drawing(), encoding="utf-8")
    print(f"written: {PICTURE.name}")
