"""The architecture page is correct: drawn from current imports, within its limits; every place that it names exists."""

from __future__ import annotations

import ast
import graphlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
import types
from pathlib import Path
from xml.etree import ElementTree

import grimp
import pytest
import typer

import genprior
from genprior.cli.app import app

ROOT = Path(genprior.__file__).parents[1]
PAGE = ROOT / "docs" / "architecture.md"
TEXT = PAGE.read_text(encoding="utf-8")
MOST_ROOMS, MOST_ARROWS, MOST_LINES = 22, 80, 350


def _script() -> types.ModuleType:
    spec = importlib.util.spec_from_file_location("draw_architecture", ROOT / "docs" / "draw_architecture.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


script = _script()
HOUSE = script.read_house(ROOT)


# ---------------------------------------------------------------------------------------------------------------------
# The picture and the table
# ---------------------------------------------------------------------------------------------------------------------


def test_the_picture_is_of_todays_imports() -> None:
    kept = (ROOT / script.PICTURE).read_text(encoding="utf-8")
    assert kept == script.draw(HOUSE), "the picture is stale: run `make map` and commit what it writes"


def test_the_table_is_of_todays_imports() -> None:
    assert script.with_drawn_part(TEXT, HOUSE) == TEXT, "the table is stale: run `make map` and commit what it writes"


def test_the_picture_shows_every_room_once_and_no_arrow_behind_a_room() -> None:
    drawn = [each.text for each in ElementTree.fromstring(script.draw(HOUSE)).iter() if each.get("font-weight")]
    assert sorted(drawn) == sorted([*map(script.title_of, HOUSE.rooms), "plugins"])
    assert script.hidden(HOUSE) == []
    assert len(set(script.place(HOUSE.floors).values())) == len(HOUSE.rooms)


def test_columns_can_be_found_for_a_room_that_stands_in_the_way() -> None:
    house = HOUSE._replace(
        rooms={room: () for room in ("__init__", "testing", "low")},
        floors=(("__init__",), ("testing",), ("low",)),
        arrows=frozenset({("__init__", "low"), ("__init__", "testing")}),
    )
    columns = script.search_columns(house, tries=1, steps=300)
    assert columns.keys() == house.rooms.keys()
    assert len({columns["__init__"], columns["testing"], columns["low"]}) > 1


def test_the_arrows_that_are_left_out_follow_from_those_that_are_drawn() -> None:
    drawn: dict[str, set[str]] = {room: set() for room in HOUSE.rooms}
    for a, b in script.without_shortcuts(HOUSE):
        drawn[a].add(b)
    reached = {room: set(others) for room, others in drawn.items()}
    for _ in HOUSE.rooms:
        reached = {room: others.union(*(reached[other] for other in others)) for room, others in reached.items()}
    assert all(b in reached[a] for a, b in HOUSE.arrows)
    assert {(a, b) for a, others in drawn.items() for b in others} <= HOUSE.arrows


# ---------------------------------------------------------------------------------------------------------------------
# The limits
# ---------------------------------------------------------------------------------------------------------------------


def test_the_rooms_and_arrows_are_few_and_all_lead_down() -> None:
    assert len(HOUSE.rooms) <= MOST_ROOMS
    assert len([a for a, _ in HOUSE.arrows if a != script.FRONT]) <= MOST_ARROWS  # a public name is no dependence
    assert script.upward(HOUSE) == []
    assert script.circle(HOUSE) == []


def test_another_tool_finds_the_same_arrows() -> None:
    graph = grimp.build_graph("genprior", exclude_type_checking_imports=False, cache_dir=None)

    def room(module: str) -> str:
        return module.split(".")[1] if "." in module else script.FRONT

    arrows = {(room(a), room(b)) for a in graph.modules for b in graph.find_modules_directly_imported_by(a)}
    assert {(a, b) for a, b in arrows if a != b} == HOUSE.arrows
    assert {room(module) for module in graph.modules} == set(HOUSE.rooms)


@pytest.mark.parametrize("package", ["genprior", "genprior_std"])
def test_no_module_imports_itself_by_way_of_others(package: str) -> None:
    """Rooms without a circle can hold files that have one."""
    graph = grimp.build_graph(package, exclude_type_checking_imports=False, cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert len(list(graphlib.TopologicalSorter(imports).static_order())) == len(graph.modules)


def test_the_public_names_come_from_the_rooms_that_their_types_come_from() -> None:
    homes = {home.split(".")[1] for home in genprior._HOMES}
    assert {b for a, b in HOUSE.arrows if a == script.FRONT} == {*homes, *genprior._PUBLIC_MODULES, "version"}


def test_no_file_of_the_core_is_long() -> None:
    lines = {file: len(file.read_text(encoding="utf-8").splitlines()) for file in (ROOT / "genprior").rglob("*.py")}
    assert len(lines) > 60
    assert {str(file.relative_to(ROOT)): n for file, n in lines.items() if n > MOST_LINES} == {}


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A package of two rooms, `top` over `low`, and its contract."""
    (tmp_path / "genprior" / "top").mkdir(parents=True)
    for name in ("__init__.py", "top/__init__.py", "top/inner.py", "low.py"):
        (tmp_path / "genprior" / name).write_text('"""A room."""\n')
    (tmp_path / "pyproject.toml").write_text(
        '[tool.importlinter]\nroot_packages = ["genprior"]\n'
        '[[tool.importlinter.contracts]]\ncontainers = ["genprior"]\nlayers = ["top", "low"]\n'
    )
    return tmp_path


@pytest.mark.parametrize(
    ("room", "text", "arrow"),
    [
        ("top/inner.py", "from genprior.low import x", ("top", "low")),
        ("top/inner.py", "import genprior.low as low", ("top", "low")),
        ("top/inner.py", "from genprior import low", ("top", "low")),
        ("top/inner.py", "from .. import low", ("top", "low")),
        ("top/inner.py", "from ..low import x", ("top", "low")),
        ("top/__init__.py", "from ..low import x", ("top", "low")),
        ("top/inner.py", "def f():\n    from genprior.low import x", ("top", "low")),
        ("low.py", "if TYPE_CHECKING:\n    from genprior.top.inner import X", ("low", "top")),
        ("low.py", "from .top import x", ("low", "top")),
        ("low.py", "from genprior import load_run", ("low", "__init__")),
        ("low.py", "import genprior", ("low", "__init__")),
    ],
)  # fmt: skip
def test_every_way_to_import_is_an_arrow(small: Path, room: str, text: str, arrow: tuple[str, str]) -> None:
    (small / "genprior" / room).write_text(text)
    house = script.read_house(small)
    assert house.arrows == {arrow}
    assert script.upward(house) == ([arrow] if arrow[0] == "low" else [])


def test_an_import_of_ones_own_room_is_no_arrow(small: Path) -> None:
    (small / "genprior" / "top" / "inner.py").write_text("from genprior.top import a\nfrom . import b\nimport torch\n")
    assert script.read_house(small).arrows == frozenset()


def test_a_circle_is_found(small: Path) -> None:
    (small / "genprior" / "top" / "inner.py").write_text("from genprior.low import x")
    assert script.circle(script.read_house(small)) == []
    (small / "genprior" / "low.py").write_text("def f():\n    import genprior.top")
    assert sorted(set(script.circle(script.read_house(small)))) == ["low", "top"]


def test_a_room_outside_of_the_contract_is_refused(small: Path) -> None:
    (small / "genprior" / "shed.py").write_text("")
    with pytest.raises(SystemExit, match=r"no layer of the import contract in pyproject.toml has: shed"):
        script.read_house(small)


# ---------------------------------------------------------------------------------------------------------------------
# The import contract
# ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages and their contract, to be spoiled."""
    to = tmp_path_factory.mktemp("copy")
    of_their_own = (f"plugins/genprior_{name}/src" for name in ("ring", "text", "ray", "slurm"))
    for folder in (
        "genprior",
        "plugins/genprior_std",
        "plugins/genprior_report",
        "plugins/genprior_explore",
        *of_their_own,
    ):
        shutil.copytree(ROOT / folder, to / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", to)
    return to


def _contracts(folder: Path) -> subprocess.CompletedProcess[str]:
    paths = [folder, folder / "plugins"]
    code = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths)), "COLUMNS": "200"}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


def test_the_contracts_hold(copy: Path) -> None:
    done = _contracts(copy)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("file", "text", "broken"),
    [
        ("genprior/shed.py", "", "The house"),
        ("plugins/genprior_std/shed.py", "", "The standard parts"),
        ("genprior/storage/shed.py", "import genprior.parts", "The house"),
        ("genprior/storage/shed.py", "import genprior_std", "The core never imports a plugin"),
        ("plugins/genprior_std/priors/shed.py", "from genprior.engine.step import run_phase", "Plugins import"),
        ("plugins/genprior_ring/src/shed.py", "from genprior.parts import Prior", "Plugins import"),
        ("plugins/genprior_text/src/shed.py", "from genprior.parts import Embedder", "Plugins import"),
        ("plugins/genprior_ray/src/shed.py", "from genprior.launch.tasks import run_task", "Plugins import"),
        ("plugins/genprior_std/priors/shed.py", "import genprior_std.models", "The standard parts"),
    ],
)
def test_what_the_contracts_refuse(copy: Path, file: str, text: str, broken: str) -> None:
    (copy / file).write_text(text)
    try:
        done = _contracts(copy)
    finally:
        (copy / file).unlink()
    assert done.returncode == 1, done.stdout + done.stderr
    assert any(line.startswith(broken) and " BROKEN" in line for line in done.stdout.splitlines()), done.stdout


# ---------------------------------------------------------------------------------------------------------------------
# What plugins import
# ---------------------------------------------------------------------------------------------------------------------

PLUGIN_FILES = sorted(
    file for file in (ROOT / "plugins").rglob("*.py") if "tests" not in file.relative_to(ROOT / "plugins").parts
)


def _imports(file: Path) -> list[tuple[str, str]]:
    """(module, name) of every import of a file, wherever in it; the name is empty where a whole module is imported."""
    found = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += [("." * node.level + (node.module or ""), alias.name) for alias in node.names]
    return found


def test_plugins_are_read() -> None:
    packages = {file.relative_to(ROOT / "plugins").parts[0] for file in PLUGIN_FILES}
    assert packages == {
        "genprior_std",
        "genprior_report",
        "genprior_explore",
        "genprior_ring",
        "genprior_text",
        "genprior_ray",
        "genprior_slurm",
    }
    assert len(PLUGIN_FILES) > 90


def _not_public(file: Path) -> list[str]:
    """What a file uses of genprior that is not public, and all private names that it imports."""
    found = []
    for module, name in _imports(file):
        if module == "__future__":
            continue
        public = module in ("genprior", "genprior.testing") and (
            module != "genprior" or name in ("", *genprior.__all__)
        )
        private = any(part.startswith("_") for part in (*module.split("."), name))
        if private or (module.split(".")[0] == "genprior" and not public):
            found.append(f"{module} {name}")
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "genprior":
            found += [node.attr] if node.attr not in (*genprior.__all__, "testing") else []
    return found


def test_plugins_import_public_names_alone() -> None:
    assert {str(file.relative_to(ROOT)): found for file in PLUGIN_FILES if (found := _not_public(file))} == {}


@pytest.mark.parametrize(
    "text",
    [
        "from genprior.parts import Prior",
        "from genprior import parts",
        "import genprior.engine.step",
        "def f():\n    from genprior.engine.step import remember",
        "from genprior import _HOMES",
        "import genprior\ngenprior.engine",
        "from genprior_std.games.gan import _loss",
        "from .gan import _loss",
    ],
)
def test_what_plugins_may_not_import(tmp_path: Path, text: str) -> None:
    (tmp_path / "part.py").write_text(f"from genprior import Prior\nfrom genprior.testing import check_prior\n{text}\n")
    assert len(_not_public(tmp_path / "part.py")) == 1


# ---------------------------------------------------------------------------------------------------------------------
# The page
# ---------------------------------------------------------------------------------------------------------------------

LINKS = re.findall(r"\[([^\]]+)\]\(([^)#]+)\)", TEXT)
NAMED = [(name, path) for shown, path in LINKS for name in re.findall(r"`([^`]+)`", shown)]
QUOTED = sorted(set(re.findall(r"`([^`]+)`", re.sub(r"\[[^\]]+\]\([^)]+\)", "", TEXT))))


def _defined(file: Path) -> set[str]:
    """The names that a file defines: functions, classes, `Class.method`, constants."""
    found = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{each.name}" for each in node.body if isinstance(each, ast.FunctionDef)}
        if isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return found


def test_the_page_names_many_places() -> None:
    assert len(NAMED) > 70
    assert len(QUOTED) > 60


def test_every_function_of_the_page_is_defined_where_it_says() -> None:
    assert [(name, path) for name, path in NAMED if name not in _defined(PAGE.parent / path)] == []


def test_every_link_of_the_page_leads_somewhere() -> None:
    assert [path for _, path in LINKS if not (PAGE.parent / path).exists()] == []


def _is_there(quoted: str) -> bool:
    """Whether a path, a command, a room, a public name, or a file that genprior writes exists."""
    if quoted.startswith("make "):
        return f"\n{quoted.removeprefix('make ')}: setup" in (ROOT / "Makefile").read_text(encoding="utf-8")
    if quoted.startswith("genprior "):
        return quoted.split()[1] in typer.main.get_group(app).commands
    if quoted.startswith("python -m "):
        return (ROOT / quoted.split()[2] / "__main__.py").exists()
    if (ROOT / quoted).exists() or "/" in quoted:
        return (ROOT / quoted).exists()
    known = {*HOUSE.rooms, "TYPE_CHECKING", *(f"genprior.{name}" for name in [*genprior.__all__, "testing"])}
    return quoted in known or f'"{quoted}"' in SOURCES


SOURCES = "\n".join(file.read_text(encoding="utf-8") for file in (ROOT / "genprior").rglob("*.py"))


def test_every_path_and_word_of_the_page_is_there() -> None:
    assert [quoted for quoted in QUOTED if not _is_there(quoted)] == []
    wrong = ["genprior/step.py", "make house", "genprior paint", "genprior.engine", "shed", "tests/oracles/"]
    assert [quoted for quoted in wrong if _is_there(quoted)] == []


def test_the_new_places_of_old_modules_and_names_exist() -> None:
    section = (ROOT / "docs" / "decisions.md").read_text(encoding="utf-8").split("**Where the old modules went**")[1]
    rows = re.findall(r"^\| `.*\| (`.*) \|$", section, re.M)
    places = [place for row in rows for place in re.findall(r"`([a-z_.]+)`", row)]
    assert len(places) > 40
    assert [place for place in places if not (ROOT / "genprior" / f"{place.replace('.', '/')}.py").exists()] == []
    section = (ROOT / "docs" / "decisions.md").read_text(encoding="utf-8").split("**Names that are public")[1]
    rows = re.findall(r"^\| `genprior.*\| `genprior\.(.*) \|$", section.split("**Where")[0], re.M)
    names = [name for row in rows for name in re.findall(r"\w+", row)]
    assert len(names) > 15
    assert set(names) <= set(genprior.__all__)


def test_the_page_is_found() -> None:
    for file in ("README.md", "CONTRIBUTING.md"):
        assert "](docs/architecture.md)" in (ROOT / file).read_text(encoding="utf-8")


def test_the_check_before_a_commit_covers_all_of_it() -> None:
    make = (ROOT / "Makefile").read_text(encoding="utf-8")
    check = make.split("\ncheck: setup\n")[1].split("\n\n")[0]
    for tool in ("ruff check .", "ruff format --check .", "mypy", "lint-imports", "python -m pytest"):
        assert f"$(BIN)/{tool}" in check
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    assert settings["mypy"]["strict"] and set(settings["mypy"]["packages"]) == {
        "genprior",
        "genprior_std",
        "genprior_report",
        "genprior_explore",
        "genprior_text",
        "genprior_ray",
        "genprior_slurm",
    }
