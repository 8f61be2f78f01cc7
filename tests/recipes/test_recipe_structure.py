"""Slips in the structure of a recipe: each is refused with its line, its key, and the form that is needed."""

from __future__ import annotations

import copy
import tomllib

import pytest
import tomlkit
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import genprior
from genprior.errors import GenpriorError, RecipeError
from genprior.recipe.labels import named_labels
from genprior.recipe.structure import TAKEN
from genprior.recipe.toml_lines import line_of, lines
from genprior.tables.formats import FILES
from genprior.tables.ranking import RANKING_FILES

from ..conftest import TINY

BASE = TINY[: TINY.index("[change.A.model]")]


def message(path, text, **options):
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError) as caught:
        genprior.load_recipe(path, **options)
    assert caught.value.exit_code == 2
    return str(caught.value)


ROW = '[[row]] with label = "..." and changes = ["..."] below it'
SLIPS = {
    "one bracket": ('[row]\nlabel = "a"', "[row]", "row: a recipe has a list of rows: write [[row]] with two brackets"),
    "a row that is a text": (
        "",
        "row =",
        f"row.0: a row is a table: write {ROW}; this is the text 'a'",
        'row = ["a"]\n',
    ),
    "rows that are a number": ("", "row =", f"row: a recipe has a list of rows: write {ROW}; this is 3", "row = 3\n"),
    "no rows": ("", "row =", f"row: the list of rows is empty, so nothing would be trained: write {ROW}", "row = []\n"),
    "a title that is a number": (
        "",
        "title =",
        'title: the title is a text: write title = "..."; this is 5',
        "title = 5\n",
    ),
    "scores that are a text": (
        "",
        "scores =",
        "scores: 'scores' is a list of tables: write scores = [{ name = \"...\" }]; this is the text 'fid'",
        'scores = "fid"\n',
    ),
    "a list of names of scores": (
        "",
        "scores =",
        "scores: 'scores' is a list of tables: write scores = [{ name = \"...\" }]; this is a list of 1 values",
        'scores = ["fid"]\n',
    ),
    "changes that are a text": (
        '[[row]]\nlabel = "a"\nchanges = "quick"',
        "changes",
        "row.0.changes: 'changes' is a list of the names of changes: write changes = [\"quick\"]; this is the text",
    ),
    "changes that are a number": (
        '[[row]]\nlabel = "a"\nchanges = 3',
        "changes",
        'row.0.changes: \'changes\' is a list of the names of changes: write changes = ["...", "..."]; this is 3',
    ),
    "changes with a number": (
        '[[row]]\nlabel = "a"\nchanges = [3]',
        "changes",
        "row.0.changes: 'changes' is a list of the names of changes",
    ),
    "a change that is a number": (
        "[change]\nquick = 5",
        "quick",
        "change.quick: a change is a table of tables: write [change.quick.run] with the settings that it changes below",
    ),
    "changes that are a list": (
        "[[change]]\nrun.steps = 5",
        "[[change]]",
        "change: 'change' holds a table for each named change: write [change.NAME.run]; this is a list of 1 values",
    ),
    "a table of a change that is a number": (
        "[change.quick]\nrun = 5",
        "run = 5",
        "change.quick.run: 'run' is a table: write [change.quick.run] with the settings of training below it",
    ),
    "when that is a number": (
        "[change.quick]\nwhen = 3",
        "when",
        "change.quick.when: 'when' holds a table for each part: write [change.quick.when.PART.model]; this is 3",
    ),
    "a part of when that is a text": (
        '[change.quick.when]\naae = "x"',
        "aae",
        "change.quick.when.aae: what 'when' holds for a part is a table of tables: write [change.quick.when.aae.model]",
    ),
    "a table of when that is a list": (
        "[change.quick.when.aae]\nmodel = [1]",
        "model = [1]",
        "change.quick.when.aae.model: 'model' is a table: write [change.quick.when.aae.model] with name = ",
    ),
    "settings of an optimiser without a module": (
        "[change.quick.optimiser]\nlr = 0.1",
        "lr = 0.1",
        "change.quick.optimiser.lr: 'optimiser' holds a table for each module, and 'default' for all others: write "
        "[change.quick.optimiser.default] with 'lr' below it, or [change.quick.optimiser.lr] if it is a module; "
        "this is 0.1",
    ),
    "an optimiser by its name": (
        '[change.quick.optimiser]\ndefault = "sgd"',
        "default",
        "change.quick.optimiser.default: 'optimiser' holds a table for each module, and 'default' for all others: "
        "write [change.quick.optimiser.default] with the settings of the optimiser below it; this is the text 'sgd'",
    ),
    "a label of a file of the table": (
        '[[row]]\nlabel = "Table.MD"',
        "label",
        "row.0.label: 'Table.MD' is a file of the table, beside the folders of the rows; give the row another label",
    ),
    "labels that differ in case": (
        '[[row]]\nlabel = "one"\n[[row]]\nlabel = "ONE"',
        'label = "ONE"',
        "row.1.label: the labels 'one' and 'ONE' name one folder where file names ignore case; give one of the rows",
    ),
    "the same label twice": (
        '[[row]]\nlabel = "one"\n[[row]] # again\nlabel = "one" # again',
        'label = "one" # again',
        "row.1.label: two rows have the label 'one'",
    ),
    "a label of two lines": (
        '[[row]]\nlabel = "a\\nb"',
        "label",
        "row.0.label: a row needs a label that can name a folder, without '/' and line breaks; this one has 'a\\nb'",
    ),
    "a label that is too long": (
        f'[[row]]\nlabel = "{"a" * 256}"',
        "label",
        "row.0.label: a row needs a label that can name a folder, of at most 255 bytes; this one has 256",
    ),
    "a label that is a number": (
        "[[row]]\nlabel = 3",
        "label",
        "row.0.label: a row needs a label that can name a folder; this one has 3",
    ),
}


@pytest.mark.parametrize("name", SLIPS)
def test_a_slip_is_refused_with_its_line_and_the_form_that_is_needed(name, tmp_path):
    after, start, expected, *before = SLIPS[name]
    base = BASE.replace('title = "tiny"\n', "") if "title" in name else BASE
    text = "".join(before) + base + after + "\n"
    number = next(n for n, line in enumerate(text.splitlines(), 1) if line.startswith(start))
    shown = message(tmp_path / "x.toml", text)
    assert f"{tmp_path / 'x.toml'}:{number}: {expected}" in shown


@pytest.mark.parametrize("key", ["run", "data", "optimiser", "model"])
def test_a_table_of_the_base_that_is_none_is_refused(key, tmp_path):
    table = tomllib.loads(BASE) | {key: [1, 2]}
    assert f"{key}: '{key}' is a table: write [{key}" in message(tmp_path / "x.toml", tomlkit.dumps(table))


def test_files_of_a_table_may_not_be_labels():
    assert set(TAKEN) == {*FILES, *RANKING_FILES, "rows.png"} and all(each == each.casefold() for each in TAKEN)


def test_a_recipe_with_a_byte_order_mark_is_read_and_other_encodings_are_named(tmp_path):
    path = tmp_path / "x.toml"
    path.write_bytes(b"\xef\xbb\xbf" + BASE.encode())
    assert genprior.load_recipe(path).title == "tiny"
    path.write_text(BASE, encoding="utf-16")
    with pytest.raises(RecipeError, match=r"x.toml is not UTF-8 text \(.*\); save it as UTF-8"):
        genprior.load_recipe(path)


@pytest.mark.parametrize("value", ["[" * 4000 + "]" * 4000, "1" * 5000])
def test_a_value_that_the_parser_gives_up_on_is_a_mistake_of_the_recipe(value, tmp_path):
    assert "x.toml is not valid TOML: " in message(tmp_path / "x.toml", f"x = {value}\n{BASE}")


def test_lines_inside_values_of_several_lines_are_no_keys(tmp_path):
    head = 'title = """\n[see the notes]\nsteps = 1 [not a key\n"""\nscores = [\n  { name = "fid" },\n]\n'
    text = head + BASE.replace('title = "tiny"\n', "")
    path = tmp_path / "x.toml"
    path.write_text(text)
    assert genprior.load_recipe(path).title == "[see the notes]\nsteps = 1 [not a key\n"
    found = lines(text)
    assert line_of(("run",), found) == 9 and line_of(("run", "steps"), found) == 10
    assert ("steps",) not in found and line_of(("scores",), found) == 5


# ---------------------------------------------------------------------------------------------------------------------
# --rows and --set
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "chosen"),
    [
        (["A, B"], ["A, B"]),
        (["C,A, B"], ["A, B", "C"]),
        (["A, B,C", "C"], ["A, B", "C"]),
        (["A"], ["A"]),
        (["A , C"], ["A", "C"]),
        ([" A, B"], ["A, B"]),
    ],
)
def test_labels_with_commas_can_be_chosen(rows, chosen, tmp_path):
    path = tmp_path / "x.toml"
    path.write_text(BASE + "".join(f'[[row]]\nlabel = "{label}"\n' for label in ("A", "A, B", "C")))
    assert [plan.label for plan in genprior.load_recipe(path, rows=rows).plans] == chosen


LABELS = ("AAE", "AAE, learned (A)", "B,C", "B")


@given(st.lists(st.sampled_from(LABELS), min_size=1, max_size=5), st.sampled_from(["", " "]))
def test_labels_with_commas_are_read_as_they_were_joined(labels, space):
    assert named_labels([f",{space}".join(labels)], LABELS) == labels
    assert named_labels(labels, LABELS) == labels


@pytest.mark.parametrize("rows", [[""], [" , "], []])
def test_rows_that_name_no_row_are_refused(rows, tiny):
    assert "--rows: no row is named. Possible: A+B+C, AAE" in message(tiny, TINY, rows=rows)


def test_a_set_title_is_the_recipes(tiny):
    assert genprior.load_recipe(tiny, settings=['title="NEW"']).title == "NEW"
    assert genprior.load_recipe(tiny).title == "tiny"
    tiny.write_text(TINY.replace('title = "tiny"\n', ""))
    assert genprior.load_recipe(tiny).title == "tiny"


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        (
            'label="x"',
            "label (--set label=\"x\"): --set cannot set 'label'. Possible: data, model, optimiser, run, scores, title",
        ),
        ("row=[]", "row (--set row=[]): --set cannot set 'row'. Possible: data, model, optimiser"),
        ("change.A.run.steps=3", "change (--set change.A.run.steps=3): --set cannot set 'change'"),
        ("run=5", "run (--set run=5): 'run' is a table: write [run] with the settings of training below it; this is 5"),
        ("scores.name=3", "scores (--set scores.name=3): 'scores' is a list of tables: write scores = [{ name = "),
        ("optimiser.lr=0.1", "optimiser.lr (--set optimiser.lr=0.1): 'optimiser' holds a table for each module"),
        ("title=5", "title (--set title=5): the title is a text"),
        ("#run.steps=5", "--set #run.steps=5: needs PATH=VALUE with a TOML value"),
        ("run.seeds=[-1]", "run.seeds.0 (--set run.seeds=[-1]): input should be greater than or equal to 0; got -1"),
        ("model.name=[1]", "model (--set model.name=[1]): a table that names a model is needed"),
    ],
)
def test_settings_of_another_shape_are_refused(setting, text, tiny):
    assert text in message(tiny, TINY, settings=[setting])


# ---------------------------------------------------------------------------------------------------------------------
# Any structure
# ---------------------------------------------------------------------------------------------------------------------

WHOLE = tomllib.loads(
    TINY.replace("[data]", "[run.hooks.pictures]\nsamples = 9\n[data]").replace(
        "[optimiser.default]", '[optimiser.encoder]\nname = "sgd"\n[optimiser.default]\nschedule = { name = "cosine" }'
    )
    + '[change.few.run]\nlabels = 20\n[change.few.when.aae]\nscores = [{ name = "fid" }]\nmodel.code_size = 3\n'
)
VALUES = st.one_of(
    st.sampled_from([0, -1, 3, 10**30, 0.5, float("nan"), float("inf"), True, "", "A", "adam", "aae", "..", "a/b"]),
    st.sampled_from(
        [[], {}, [[]], [{}], ["A"], [1], {"name": "x"}, {"name": 3}, {"name": ["x"]}, {"a": {}}, {"when": 3}]
    ),
    st.dates(),
)


def places(value, at=()):
    """The path of every value in nested tables and lists."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*at, key)
        yield from places(inner, (*at, key))


def holder(document, path):
    for key in path[:-1]:
        document = document[key]
    return document


@st.composite
def mutated(draw):
    document = copy.deepcopy(WHOLE)
    for _ in range(draw(st.integers(1, 3))):
        paths = sorted(places(document), key=str)
        if not paths:
            break
        path = draw(st.sampled_from(paths))
        inside = holder(document, path)
        match draw(st.sampled_from(["replace", "delete", "wrap", "duplicate", "add"])):
            case "replace":
                inside[path[-1]] = copy.deepcopy(draw(VALUES))
            case "delete":
                del inside[path[-1]]
            case "wrap":
                inside[path[-1]] = [copy.deepcopy(inside[path[-1]])]
            case "duplicate":
                other = draw(st.sampled_from(paths))
                try:
                    holder(document, other)[other[-1]] = copy.deepcopy(inside[path[-1]])
                except (LookupError, TypeError):
                    pass
            case "add":
                if isinstance(inside, list):
                    inside.append(copy.deepcopy(draw(VALUES)))
                else:
                    inside[draw(st.sampled_from(["name", "when", "default", "x", "label", "changes"]))] = copy.deepcopy(
                        draw(VALUES)
                    )
    return document


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(mutated())
def test_any_structure_is_a_recipe_or_a_mistake_that_is_named(tmp_path, document):
    path = tmp_path / "x.toml"
    text = tomlkit.dumps(document)
    try:
        tomllib.loads(text)
    except ValueError:
        return  # tomlkit cannot write every list of tables
    path.write_text(text, encoding="utf-8")
    try:
        recipe = genprior.load_recipe(path, changes=["few"])
    except GenpriorError as error:
        assert error.exit_code == 2 and str(path) in str(error)
    else:
        assert recipe.plans and all(plan.as_toml() for plan in recipe.plans)
