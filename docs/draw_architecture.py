"""Draws the map of the house from the imports: `docs/images/architecture.svg` and the table in `docs/architecture.md`.

A room is a folder or a file at the top level of `genprior/`; its files are what stands in it. A room has an arrow to
another if any of its files imports from there, at the top of the file, inside a function or under `TYPE_CHECKING`. The
floors are the layers of the import contract in `pyproject.toml`. The picture leaves out arrows that follow from others
(A to C, where A leads to B and B to C); the table has all of them.

    python docs/draw_architecture.py            # writes both, and prints the numbers
    python docs/draw_architecture.py --columns  # searches for good columns of the rooms, and prints them
"""

from __future__ import annotations

import ast
import graphlib
import itertools
import re
import sys
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from html import escape
from math import exp
from pathlib import Path
from random import Random
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PAGE = Path("docs", "architecture.md")
PICTURE = Path("docs", "images", "architecture.svg")
FRONT = "__init__"
"""The room of `genprior` itself: its public names, each loaded from its home when it is first used."""
BEGIN, END = "<!-- drawn by docs/draw_architecture.py -->", "<!-- end of what is drawn -->"


class House(NamedTuple):
    """What the picture shows."""

    rooms: Mapping[str, tuple[Path, ...]]
    """The files of each room, by its name."""
    floors: tuple[tuple[str, ...], ...]
    """The rooms of each floor, from the top."""
    arrows: frozenset[tuple[str, str]]
    """(importing room, imported room)."""
    plugins: tuple[str, ...]
    """The packages that import the public names."""


# ---------------------------------------------------------------------------------------------------------------------
# Read
# ---------------------------------------------------------------------------------------------------------------------


def read_house(root: Path = ROOT) -> House:
    """The rooms, floors and arrows of a checkout.

    Raises:
        SystemExit: a room stands on no floor of the import contract.
    """
    rooms = read_rooms(root / "genprior")
    linter = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    (layers,) = [each["layers"] for each in linter["contracts"] if each.get("containers") == ["genprior"]]
    floors = [tuple(re.split(r"\s*[:|]\s*", layer)) for layer in layers]
    floors[0] = (*floors[0], FRONT)
    homeless = rooms.keys() - set(itertools.chain(*floors))
    if homeless:
        raise SystemExit(f"no layer of the import contract in pyproject.toml has: {', '.join(sorted(homeless))}")
    arrows = {
        (room, other)
        for room, files in rooms.items()
        for file in files
        for other in imported_rooms(file, root / "genprior", rooms.keys())
        if other != room
    }
    plugins = tuple(name for name in linter["root_packages"] if name != "genprior")
    return House(rooms, tuple(floors), frozenset(arrows), plugins)


def read_rooms(package: Path) -> dict[str, tuple[Path, ...]]:
    """The files of each folder and file at the top level of a package."""
    rooms: dict[str, tuple[Path, ...]] = {file.stem: (file,) for file in package.glob("*.py")}
    rooms |= {
        folder.name: tuple(sorted(folder.rglob("*.py")))
        for folder in package.iterdir()
        if folder.is_dir() and any(folder.rglob("*.py"))
    }
    return dict(sorted(rooms.items()))


def imported_rooms(file: Path, package: Path, rooms: Collection[str]) -> Iterator[str]:
    """The rooms that a file imports from, wherever in it the import stands."""
    here = (package.name, *file.relative_to(package).with_suffix("").parts)
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules = [tuple(alias.name.split(".")) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = here[: len(here) - node.level] if node.level else ()
            origin = (*start, *(node.module.split(".") if node.module else ()))
            modules = [(*origin, alias.name) for alias in node.names] if len(origin) == 1 else [origin]
        else:
            continue
        for module in modules:
            if module[0] == package.name:
                yield module[1] if len(module) > 1 and module[1] in rooms else FRONT


def upward(house: House) -> list[tuple[str, str]]:
    """The arrows that lead to a floor above."""
    floor = {room: number for number, rooms in enumerate(house.floors) for room in rooms}
    return sorted((a, b) for a, b in house.arrows if floor[b] < floor[a])


def circle(house: House) -> list[str]:
    """The rooms of a circle of arrows, the first one again at the end; empty if there is none."""
    try:
        list(graphlib.TopologicalSorter(_targets(house.rooms, house.arrows)).static_order())
    except graphlib.CycleError as error:
        return list(reversed(error.args[1]))
    return []


def without_shortcuts(house: House) -> list[tuple[str, str]]:
    """The arrows that do not follow from others; there may be no circle."""
    targets = _targets(house.rooms, house.arrows)
    reached: dict[str, set[str]] = {}
    for room in graphlib.TopologicalSorter(targets).static_order():
        reached[room] = targets[room].union(*(reached[other] for other in targets[room]))
    return sorted((a, b) for a, b in house.arrows if not any(b in reached[other] for other in targets[a] - {b}))


def _targets(rooms: Mapping[str, object], arrows: frozenset[tuple[str, str]]) -> dict[str, set[str]]:
    return {room: {b for a, b in sorted(arrows) if a == room} for room in sorted(rooms)}


def numbers(house: House) -> str:
    """The numbers of the house, in a sentence."""
    front = sum(FRONT in arrow for arrow in house.arrows)
    found = circle(house)
    return (
        f"{len(house.rooms)} rooms, {len(house.arrows)} arrows ({front} of them from the public names of `genprior`), "
        f"{len(upward(house)) or 'none'} upward, {'a circle: ' + ' -> '.join(found) if found else 'no circle'}."
    )


# ---------------------------------------------------------------------------------------------------------------------
# Place
# ---------------------------------------------------------------------------------------------------------------------

Place = tuple[int, int]
"""(column, floor) of a room."""

COLUMN = {
    "__main__": 1, FRONT: 2, "cli": 0, "launch": 1, "bench": 0, "testing": 3, "tables": 0, "runs": 1, "engine": 4,
    "recipe": 2, "registry": 2, "scoring": 1, "pictures": 0, "data": 2, "hookspecs": 4, "parts": 2, "storage": 1,
    "randomness": 3, "errors": 2, "version": 4,
}  # fmt: skip
"""Few arrows cross and none runs through a box: found by `--columns`, and kept so that the picture changes little from
one change of the imports to the next. A room without one takes what is free."""
COLUMNS = 5
PLUGINS: Place = (3, 0)
"""Where the packages stand that import the public names and the contract tests alone."""


def place(floors: Sequence[Sequence[str]]) -> dict[str, Place]:
    """A column and a floor for each room."""
    at: dict[str, Place] = {}
    for number, rooms in enumerate(floors):
        free = [column for column in range(COLUMNS) if column not in [COLUMN.get(room) for room in rooms]]
        at |= {room: (COLUMN[room] if room in COLUMN else free.pop(0), number) for room in rooms}
    return at


def hidden(house: House) -> list[tuple[str, str, str]]:
    """The drawn arrows (from, to) that run through the box of a third room, so that a reader takes them for two."""
    at = place(house.floors)
    return [
        (a, b, room)
        for a, b in without_shortcuts(house)
        for room, where in at.items()
        if room not in (a, b) and _close(at[a], at[b], where)
    ]


def _close(one: Place, other: Place, room: Place) -> bool:
    (x1, y1), (x2, y2), (x, y) = one, other, room
    if y1 == y2:
        return y == y1 and min(x1, x2) < x < max(x1, x2)
    if not min(y1, y2) < y < max(y1, y2):
        return False
    # At the third room's floor the line is at x1 + (x2 - x1) (y - y1) / (y2 - y1), in columns; a box is 0.86 wide.
    return abs((x1 - x) * (y2 - y1) + (x2 - x1) * (y - y1)) * 100 < 60 * abs(y2 - y1)


def search_columns(house: House, tries: int = 6, steps: int = 5000) -> dict[str, int]:
    """Columns for which few arrows cross and none runs through a box, by simulated annealing; takes half a minute."""
    arrows = without_shortcuts(house)
    best: tuple[float, dict[str, Place]] | None = None
    for seed in range(tries):
        random = Random(seed)
        at = {
            room: (column, number)
            for number, rooms in enumerate(house.floors)
            for room, column in zip(rooms, random.sample(range(COLUMNS), len(rooms)), strict=True)
        }
        cost = _cost(at, arrows)
        for step in range(steps):
            room, column = random.choice(sorted(at)), random.randrange(COLUMNS)
            # Whoever stands there takes the room's own place.
            swapped = {other: at[room] for other, where in at.items() if where == (column, at[room][1])}
            tried = at | swapped | {room: (column, at[room][1])}
            paid = _cost(tried, arrows)
            if paid < cost or random.random() < exp((cost - paid) / (300 * 0.002 ** (step / steps))):
                at, cost = tried, paid
        if best is None or cost < best[0]:
            best = cost, at
    assert best is not None
    return {room: best[1][room][0] for rooms in house.floors for room in rooms}


def _cost(at: Mapping[str, Place], arrows: Sequence[tuple[str, str]]) -> int:
    lines = [(at[a], at[b]) for a, b in arrows] + [(PLUGINS, at[FRONT]), (PLUGINS, at["testing"])]
    boxes = [*at.values(), PLUGINS]
    through = sum(_close(*line, box) for line in lines for box in boxes if box not in line)
    crossings = sum(_cross(p, q) for p, q in itertools.combinations(lines, 2))
    wide = sum((one[0] - other[0]) ** 2 for one, other in lines)
    return 400 * through + 40 * crossings + wide + 1000 * (len(boxes) - len(set(boxes)))


def _cross(p: tuple[Place, Place], q: tuple[Place, Place]) -> bool:
    def turn(a: Place, b: Place, c: Place) -> int:
        return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])

    apart = not set(p) & set(q)
    return apart and turn(*p, q[0]) * turn(*p, q[1]) < 0 and turn(*q, p[0]) * turn(*q, p[1]) < 0


# ---------------------------------------------------------------------------------------------------------------------
# Draw
# ---------------------------------------------------------------------------------------------------------------------

LEFT, TOP, ACROSS, DOWN, BOX, HIGH = 24, 58, 112, 58, 96, 28
FONT = "font-family='ui-monospace, SFMono-Regular, Menlo, Consolas, DejaVu Sans Mono, monospace'"
DASHED = " stroke-dasharray='4 3'"
WIDE = LEFT + COLUMNS * ACROSS + 372


def draw(house: House) -> str:
    """The picture: an SVG of its own background, so that it can be read on a dark page and on a light one."""
    arrows = without_shortcuts(house)
    at = place(house.floors)
    high = TOP + DOWN * len(house.floors) + 34
    lines = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDE} {high}' width='{WIDE}' height='{high}' {FONT}>",
        "<title>The rooms of genprior and what imports what</title>",
        f"<rect width='{WIDE}' height='{high}' rx='8' fill='#fbfaf6'/>",
        _text(LEFT, 24, "An arrow is an import; all lead down.", 13, "#1f2a37"),
        _text(LEFT, 42, "What follows from other arrows is left out.", 11, "#5b6675"),
        _text(LEFT + COLUMNS * ACROSS + 8, 24, "Files", 13, "#1f2a37"),
    ]
    for number, rooms in enumerate(house.floors):
        top = TOP + number * DOWN
        fill = "#f1eee4" if number % 2 == 0 else "#fbfaf6"
        lines.append(f"<rect x='8' y='{top}' width='{WIDE - 16}' height='{DOWN}' fill='{fill}'/>")
        lines += _files_of(house, sorted(rooms, key=lambda room: at[room]), top)
    lines += [_arrow(at[a], at[b]) for a, b in arrows]
    lines += [_box(title_of(room), at[room]) for rooms in house.floors for room in rooms]
    lines += [_arrow(PLUGINS, at[room], DASHED) for room in (FRONT, "testing")]
    lines.append(_box("plugins", PLUGINS, DASHED))
    lines.append(_text(LEFT, high - 12, f"plugins: {', '.join(house.plugins)}, yours", 11, "#5b6675"))
    return "\n".join([*lines, "</svg>", ""])


def title_of(room: str) -> str:
    """What the picture calls a room."""
    return "genprior" if room == FRONT else room


def _files_of(house: House, rooms: Sequence[str], top: int) -> list[str]:
    texts: list[str] = []
    singles: list[str] = []
    for room in rooms:
        names = [file.stem for file in house.rooms[room] if file.stem != FRONT]
        if names == [room] or room == FRONT:
            singles.append(f"{room}.py")
        else:
            texts += _wrapped((f"{room}: " if len(rooms) > 1 else "") + " ".join(names), 58)
    texts += [" ".join(singles)] if singles else []
    first = top + DOWN // 2 + 4 - 7 * (len(texts) - 1)
    return [_text(LEFT + COLUMNS * ACROSS + 8, first + 14 * n, text, 10, "#3c4858") for n, text in enumerate(texts)]


def _wrapped(text: str, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) >= width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def _middle(place: Place) -> tuple[int, int]:
    return LEFT + place[0] * ACROSS + BOX // 2, TOP + place[1] * DOWN + DOWN // 2


def _box(name: str, place: Place, more: str = "") -> str:
    x, y = _middle(place)
    box = (
        f"<rect x='{x - BOX // 2}' y='{y - HIGH // 2}' width='{BOX}' height='{HIGH}' rx='5' fill='#ffffff' "
        f"stroke='#1f2a37' stroke-width='1.3'{more}/>"
    )
    return box + _text(x, y + 4, name, 12, "#1f2a37", "text-anchor='middle' font-weight='600'")


def _arrow(one: Place, other: Place, more: str = "") -> str:
    """A line from the lower edge of a box to the upper edge of another, with a head; sideways on one floor."""
    (x1, y1), (x2, y2) = _middle(one), _middle(other)
    if one[1] == other[1]:
        side = 1 if x2 > x1 else -1
        x1, x2 = x1 + side * BOX // 2, x2 - side * BOX // 2
    else:
        # Arrows leave and arrive a little towards where they go, so that those of one box stand apart.
        lean = max(-36, min(36, (x2 - x1) // 4))
        x1, y1, x2, y2 = x1 + lean, y1 + HIGH // 2, x2 - lean, y2 - HIGH // 2
    length = max(1, round(((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5))
    across, down = (x2 - x1) / length, (y2 - y1) / length
    back = (x2 - 8 * across, y2 - 8 * down)
    head = [(x2, y2), *((back[0] + side * down, back[1] - side * across) for side in (3.2, -3.2))]
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in head)
    line = f"<line x1='{x1}' y1='{y1}' x2='{back[0]:.1f}' y2='{back[1]:.1f}'{more}"
    return f"{line} stroke='#3f6fa8' stroke-width='1.4'/><polygon points='{points}' fill='#3f6fa8'/>"


def _text(x: int, y: int, text: str, size: int, fill: str, more: str = "") -> str:
    return f"<text x='{x}' y='{y}' font-size='{size}' fill='{fill}'{' ' + more if more else ''}>{escape(text)}</text>"


def table(house: House) -> str:
    """The floors with a sentence for each room and all its arrows, in Markdown."""
    rows = ["| floor | room | what it is | imports |", "|---|---|---|---|"]
    for number, rooms in enumerate(house.floors):
        for room in rooms:
            others = [other for floor in house.floors for other in floor if (room, other) in house.arrows]
            where = len(house.floors) - number
            name = f"`{title_of(room)}`"
            rows.append(f"| {where} | {name} | {_sentence(house, room)} | {', '.join(others) or '-'} |")
    return "\n".join(rows)


def _sentence(house: House, room: str) -> str:
    """The first line of a room's docstring."""
    if room == FRONT:
        return "The public names: what plugins and users import."
    files = house.rooms[room]
    file = next((file for file in files if file.stem == FRONT), files[0])
    return (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").split("\n")[0].replace("|", "\\|")


def with_drawn_part(page: str, house: House) -> str:
    """The page with its numbers and its table made anew."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{numbers(house)}\n\n{table(house)}\n{END}{after}"


def main() -> int:
    """Write the picture and the table, and print the numbers."""
    house = read_house()
    if "--columns" in sys.argv[1:]:
        print(search_columns(house))
        return 0
    print(numbers(house))
    for a, b in upward(house):
        print(f"upward: {a} -> {b}")
    if circle(house):
        return 1
    for a, b, room in hidden(house):
        print(f"the arrow {a} -> {b} runs through {room}: change COLUMN, by hand or to what --columns finds")
    (ROOT / PICTURE).write_text(draw(house), encoding="utf-8")
    page = ROOT / PAGE
    page.write_text(with_drawn_part(page.read_text(encoding="utf-8"), house), encoding="utf-8")
    return 1 if upward(house) else 0


if __name__ == "__main__":
    sys.exit(main())
