"""Messages about plausible mistakes name what is near, what is there, and the option to give."""

from __future__ import annotations

import json
import multiprocessing
import shutil
import threading
import warnings

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

from genprior.cli.table_screen import PATIENCE
from genprior.errors import GenpriorWarning
from genprior.launch import processes
from genprior.runs.find import in_use


def error_of(result, code=2):
    assert result.exit_code == code and "Traceback" not in result.output, result.output
    return result.stderr


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with recipes and a folder of runs; the recipes are never read."""
    for name in ("vae_gan", "iwae_mnist", "gans/began"):
        path = tmp_path / "recipes" / f"{name}.toml"
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text("")
    (tmp_path / "runs" / "vae_gan-quick").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


ALL = "The recipes there: recipes/gans/began.toml, recipes/iwae_mnist.toml, recipes/vae_gan.toml\n"
FILES = {
    "no similar name": ("check recipes/nope.toml", f"there is no recipe file recipes/nope.toml. {ALL}"),
    "half a name": ("check recipes/gan.toml", f"there is no recipe file recipes/gan.toml. {ALL}"),
    "a slip": ("train recipes/vae_gna.toml", "recipes/vae_gna.toml; did you mean recipes/vae_gan.toml?\n"),
    "the start": ("train recipes/iwae.toml", "recipes/iwae.toml; did you mean recipes/iwae_mnist.toml?\n"),
    "no ending": ("check recipes/vae_gan", "no recipe file recipes/vae_gan; did you mean recipes/vae_gan.toml?\n"),
    "no folder": ("check vae_gan.toml", "no recipe file vae_gan.toml; did you mean recipes/vae_gan.toml?\n"),
    "a folder too few": ("check recipes/began.toml", "did you mean recipes/gans/began.toml?\n"),
    "a folder": ("check recipes/gans", "recipes/gans is a folder, and a recipe is a file. The recipes there: rec"),
    "another folder": ("check recipe/a.toml", "there is no recipe file recipe/a.toml, nor a folder recipe; give"),
    "a run that is not there": (
        "show runs/nope",
        "there is nothing at runs/nope: no folder of runs and no recipe. The folders and recipes there: runs/vae_gan-",
    ),
    "a run by its recipe": ("show runs/vae_gan", "at runs/vae_gan: no folder of runs and no recipe; did you mean run"),
    "a row below no run": ("sample runs/vae_gan/AAE", "no folder runs/vae_gan/AAE; give a run's folder, such as runs"),
    "runs to compare": ("bench runs/vae_gan_quick", "or folders above them; did you mean runs/vae_gan-quick?\n"),
    "the folder of runs": ("show nope", "there is nothing at nope: no folder of runs and no recipe. The folders and"),
}  # fmt: skip


@pytest.mark.parametrize("case", FILES)
def test_a_missing_file_or_folder(case, call, folder):
    command, expected = FILES[case]
    assert expected in error_of(call(*command.split()))


KINDS = {
    "gaussian": "there is no kind of part 'gaussian'; did you mean `genprior parts prior gaussian`? Kinds: condition",
    "mlp": "did you mean `genprior parts decoder mlp` or `genprior parts encoder mlp`? Kinds: ",
    "gausian": "did you mean `genprior parts prior gaussian`? Kinds: ",
    "priors": "there is no kind of part 'priors'; did you mean 'prior'? Possible: ",
    "zzz": "there is no kind of part 'zzz'. Possible: conditioner, ",
}


@pytest.mark.parametrize("name", KINDS)
def test_the_name_of_a_part_in_place_of_its_kind(name, call):
    assert KINDS[name] in error_of(call("parts", name))


def test_a_name_in_other_letters_is_meant(call, recipe):
    assert "there is no row 'aae'; did you mean 'AAE'? Possible: AAE, [A]" in error_of(
        call("check", recipe, "--rows", "aae")
    )


def test_a_name_that_begins_so_is_meant(call):
    said = error_of(call("figure", "fig10"))
    assert "there is no figure named 'fig10'; did you mean 'fig10_supervised'?" in said


def test_samples_of_another_seed_label_or_text_have_files_of_their_own(trained, call, tmp_path):
    run = shutil.copytree(trained / "AAE" / "seed-0", tmp_path / "run")
    for seed, name in ((0, "samples.png"), (1, "samples-seed-1.png"), (2, "samples-seed-2.png")):
        result = call("sample", run, "-n", 4, "--seed", seed)
        assert result.exit_code == 0 and str(run / name) in result.stdout and (run / name).exists()
    assert "samples-seed-1.png exists already; give another file" in error_of(call("sample", run, "--seed", 1))


def test_the_file_of_samples_is_of_letters_and_digits(tmp_path):
    from genprior.runs.export import default_file

    def name(**asked):
        given = {"seed": 0, "label": None, "text": (), "by_label": False, **asked}
        return default_file(tmp_path, **given).relative_to(tmp_path).as_posix()

    assert name(label="cat", seed=3) == "samples-label-cat-seed-3.png"
    assert name(by_label=True) == "samples-labels.png"
    assert name(text=("a red seven / on white",)) == "samples-a-red-seven-on-white.png"
    assert name(label="../../x\n") == "samples-label-x.png"
    assert len(name(text=("word " * 99,) * 9)) < 130


@pytest.mark.parametrize(("arguments", "what"), [
    (["show", ""], "an argument is empty"), (["bench", ""], "an argument is empty"),
    (["sample", "", "--to", "s.png"], "an argument is empty"), (["export", "", "--to", "e"], "an argument is empty"),
    (["train", ""], "an argument is empty"), (["check", ""], "an argument is empty"),
    (["figure", "fig10_supervised", ""], "an argument is empty"), (["recipes", "copy", ""], "an argument is empty"),
    (["new", "prior", "mine", "--out", ""], "the value of --out is empty"),
    (["train", "vae_gan", "--out="], "the value of --out is empty"),
    (["export", "TABLE", "--onnx", ""], "the value of --onnx is empty"),
    (["export", "TABLE", "--to="], "the value of --to is empty"),
    (["schema", "--out", ""], "the value of --out is empty"),
    (["priors", "--out", ""], "the value of --out is empty"),
])  # fmt: skip
def test_an_empty_argument_is_no_path_of_the_current_folder(arguments, what, trained, call, monkeypatch, tmp_path):
    """As of a variable of the shell that is not set: an empty path would be the current folder."""
    monkeypatch.chdir(trained)
    before = sorted(trained.rglob("*"))
    told = error_of(call(*arguments))
    assert told == (
        f"error: {what}, as of a variable that is not set; give one"
        f"{'' if 'argument' in what else ', or leave the option out'}. The current folder is .\n"
    )
    assert sorted(trained.rglob("*")) == before


def test_an_empty_sentence_is_one(trained, call):
    assert "takes no text" in error_of(call("sample", trained / "AAE" / "seed-0", "--text", ""))


def test_a_label_beyond_the_classes_is_no_slip_of_another(trained, call):
    said = error_of(call("sample", trained / "AAE" / "seed-0", "--label", 12))
    assert (
        "there is no class '12' in this run's data. Possible: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9; indices are 0 to 9" in said
    )


def pngs(folder, n):
    folder.mkdir()
    draw = np.random.RandomState(n)
    for place in range(n):
        Image.fromarray(draw.randint(0, 255, (8, 8), dtype=np.uint8)).save(folder / f"{place:03}.png")
    return folder


@pytest.fixture
def own_images(tmp_path, monkeypatch):
    monkeypatch.setenv("GENPRIOR_DATA", str(tmp_path / "cache"))
    return pngs(tmp_path / "mine", 60), pngs(tmp_path / "theirs", 50)


def test_own_images_are_scored_without_labels_and_downloads(call, own_images, tmp_path):
    mine, theirs = own_images
    wanted = ["fid", "kid", "precision_recall", "nearest_distance"]
    scores = [f'{{ name = "{name}", extractor = "random", samples = 60 }}' for name in wanted]
    scores[1] = scores[1].replace("samples", "subset_size = 50, samples")
    options = [option for score in scores for option in ("--score", score)]
    result = call("bench", mine, "--data", theirs, *options, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    table = json.loads((tmp_path / "out" / "table.json").read_text())
    keys = ["fid", "kid", "precision", "recall", "nearest_distance"]
    assert [column["key"] for column in table["columns"]] == [f"random_features_{key}" for key in keys]
    assert all(f"random_features_{key}" in table["rows"][0]["scores"] for key in keys)
    text = (tmp_path / "out" / "table.md").read_text()
    assert "Each row is one set of images." in text and "One seed" not in text
    assert "untrained network of 3x3 convolutions" in text


def test_more_samples_than_images_name_the_option(call, own_images):
    mine, theirs = own_images
    said = error_of(call("bench", mine, "--data", theirs, "--score", "fid"))
    assert "mine: score 'fid': there are 60 images, and it takes 50,000; give it more, or --samples 60\n" in said
    said = error_of(call("bench", mine, "--data", theirs, "--score", '{ name = "kid", extractor = "random" }'))
    option = """--score '{ name = "kid", extractor = "random", samples = 60, subset_size = 60 }'"""
    assert "there are 60 images, and it takes 50,000. With all 60, " in said and option in said
    said = error_of(call("bench", mine, "--data", theirs, "--score", option[9:-1]))
    assert "there are 50 real ones; set 'subset_size' to 50 or less" in said


def test_latex_says_that_it_needs_booktabs(call, own_images, tmp_path):
    mine, theirs = own_images
    ask = [
        "--data",
        theirs,
        "--score",
        '{ name = "fid", extractor = "random", samples = 60 }',
        "--out",
        tmp_path / "out",
    ]
    result = call("bench", mine, *ask)
    needs = r"% Needs \usepackage{booktabs} in the preamble of the document."
    assert (tmp_path / "out" / "table.tex").read_text().startswith(f"{needs}\n")
    assert r"table.tex (needs \usepackage{booktabs})" in result.stdout
    assert call("bench", mine, *ask).exit_code == 0  # its own file is recognised


def test_seeds_are_of_runs_and_not_of_images(call, own_images, trained, tmp_path):
    images, ask = own_images[0], ["--samples", 60, "--score", '{ name = "fid", extractor = "random" }']
    result = call("bench", trained, images, *ask)
    assert "One seed, so no row is better or worse. One set of images: mine. ↑ higher" in result.stdout, result.output


@pytest.fixture
def half(trained, tmp_path):
    """A table of which one run was interrupted after 2 of 4 steps; no process trains it."""
    home = shutil.copytree(trained, tmp_path / "half")
    facts = home / "AAE" / "seed-0" / "run.json"
    facts.write_text(json.dumps(json.loads(facts.read_text()) | {"finished": False, "step": 2}))
    return home


def test_watching_ends_where_no_process_trains(call, half, monkeypatch):
    slept = []
    monkeypatch.setattr("time.sleep", slept.append)
    said = error_of(call("bench", half, "--watch", 20), code=1)
    assert sum(slept) == PATIENCE
    assert f"no process trains the runs that are not finished: {half / 'AAE' / 'seed-0'} (trained " in said
    assert "give their training command again, which resumes them" in said


def test_watching_goes_on_while_a_process_trains(call, half, monkeypatch):
    slept = []
    lock = FileLock(half / "AAE" / "seed-0" / ".lock")
    lock.acquire()

    def sleep(seconds):
        slept.append(seconds)
        if len(slept) == 50:
            raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", sleep)
    assert call("bench", half, "--watch", 20).exit_code == 0 and len(slept) == 50
    assert in_use(half / "AAE" / "seed-0")
    lock.release()
    assert not in_use(half / "AAE" / "seed-0") and not in_use(half / "AAE")


@pytest.mark.parametrize(
    "command", ["show {table}", "bench {table}", "train {recipe} --out {table} --jobs 1 --rows [A]"]
)
def test_a_run_that_the_system_cannot_read_ends_the_command_with_1(command, call, trained, tmp_path):
    table = shutil.copytree(trained, tmp_path / "table")
    scores = table / "AAE" / "seed-0" / "scores.json"
    scores.unlink(missing_ok=True)
    scores.mkdir()  # which cannot be read as a file
    result = call(*command.format(table=table, recipe=trained.parent / "tiny.toml").split())
    said = error_of(result, code=1)
    assert f"the table lacks 1 run that could not be read: {scores.parent}: " in said
    assert "│ [A]" in result.stdout  # the table of the others is shown


def test_labels_are_refused_beside_sentences(call, recipe):
    settings = [
        'data={name="captioned_digits",size=8}',
        'model.conditioner={name="sentence",reads="critic",embedder={name="lsa",size=8}}',
        "model.image_critic.conditional=true",
        "run.labels=50",
    ]
    said = error_of(call("check", recipe, *(part for each in settings for part in ("--set", each))))
    assert "run.labels = 50 has no effect: conditioner 'sentence' tells the model captions, and no labels" in said


def test_warnings_of_workers_are_those_of_the_parent():
    parent, worker = multiprocessing.Pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = processes._to_parent(worker)
        warnings.warn("a hook failed", GenpriorWarning, stacklevel=1)
        warnings.warn("of a library", FutureWarning, stacklevel=1)
    messages = [parent.recv(), parent.recv()]
    assert [message[:3] for message in messages] == [
        ("warning", "a hook failed", GenpriorWarning),
        ("warning", "of a library", FutureWarning),
    ]
    team = processes._Team(2, "cpu", None, False)
    for message in (*messages, messages[0]):  # another worker warns of the same
        worker.send(message)
    with warnings.catch_warnings(record=True) as shown:
        for _ in range(3):
            team._hear(processes._Worker(threading.current_thread(), parent, None), [])
    assert [(str(each.message), each.category) for each in shown] == [
        ("a hook failed", GenpriorWarning),
        ("of a library", FutureWarning),
    ]


# ---------------------------------------------------------------------------------------------------------------------
# Options that nothing uses
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("below", ["", "AAE/seed-0"])
def test_settings_of_recipes_are_refused_where_a_folder_is_shown(below, trained, call):
    path = trained / below
    assert error_of(call("show", path, "--row", "AAE", "--with", "quick", "--set", "run.steps=3")) == (
        f"error: --row AAE, --with quick, --set run.steps=3: {path} is no recipe; give a recipe or its name, or leave "
        "this out\n"
    )


def test_a_layout_by_label_that_an_exporter_does_not_have_is_refused(trained, call, tmp_path):
    run = trained / "AAE" / "seed-0"
    said = error_of(call("sample", run, "--grid", "labels", "--exporter", "npz", "--to", tmp_path / "a.npz"))
    assert said.startswith(
        "error: exporter 'npz' does not lay images out by label, so --grid labels has no effect; leave it out, or use "
        "one of: "
    )
    assert "label_grid" in said and not (tmp_path / "a.npz").exists()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--private"], "--private is of a repository on the hub; give --push USER/NAME too, or leave it out"),
        (["--input", "code"], "--input code is of an ONNX graph; give --onnx FILE too, or leave it out"),
    ],
)
def test_options_of_another_way_to_export_are_refused(option, message, trained, call, tmp_path):
    assert error_of(call("export", trained / "AAE" / "seed-0", "--to", tmp_path / "copy", *option)) == (
        f"error: {message}\n"
    )
    assert not (tmp_path / "copy").exists()
