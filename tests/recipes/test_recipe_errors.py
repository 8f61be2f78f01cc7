"""Error messages about recipes: the line, the path, what is possible."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import genprior
from genprior.errors import RecipeError
from genprior.launch.preflight import preflight
from genprior.recipe.toml_lines import line_of, lines

RECIPES = Path(__file__).parents[2] / "recipes"


def edited(tiny, *replacements):
    text = tiny.read_text()
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new)
    tiny.write_text(text)
    return tiny


def line_with(tiny, start):
    return next(n for n, line in enumerate(tiny.read_text().splitlines(), 1) if line.startswith(start))


def message(tiny, **options):
    with pytest.raises(RecipeError) as caught:
        genprior.load_recipe(tiny, **options)
    assert caught.value.exit_code == 2
    return str(caught.value)


MISTAKES = {
    "unknown key of a part": (
        'prior = { name = "code_generator", noise = 3 }',
        'prior = { name = "code_generator", nois = 3 }',
        "model.prior.nois: unknown key 'nois'; did you mean 'noise'? Possible: noise, noise_prior",
        'prior = { name = "code_generator"',
    ),
    "unknown key of the run": (
        "log_every = 2",
        "log_evry = 2",
        "run.log_evry: unknown key 'log_evry'; did you mean 'log_every'?",
        "log_evry",
    ),
    "unknown key of the model": (
        "code_size = 4",
        "code_sise = 4",
        "model.code_sise: unknown key 'code_sise'; did you mean 'code_size'?",
        "code_sise",
    ),
    "unknown key of an optimiser": (
        "lr = 1e-3",
        "learning = 1e-3",
        "optimiser.default.learning: unknown key 'learning'. Possible: betas, eps, lr, schedule, weight_decay",
        "learning",
    ),
    "wrong type": ("steps = 6", 'steps = "six"', "run.steps: input should be a valid integer", "steps"),
    "out of range": ("batch = 8", "batch = 0", "run.batch: input should be greater than 0; got 0", "batch"),
    "a number for a list": (
        'encoder = { name = "mlp", hidden = [16]',
        'encoder = { name = "mlp", hidden = 16',
        "model.encoder.hidden: input should be a list, such as [16]; got 16",
        "encoder",
    ),
    "no item of two": ("lr = 1e-3", "lr = 1e-3\nbetas = []", "betas: list has too few items; got []", "betas"),
    "one item of two": ("lr = 1e-3", "lr = 1e-3\nbetas = [0.5]", "betas: list has too few items; got [0.5]", "betas"),
    "no item": ("steps = 6", "steps = 6\nseeds = []", "seeds: list should have at least 1 item after", "seeds"),
    "a wrong item alone": ("steps = 6", "steps = 6\nseeds = [[]]", "seeds.0: input should be a valid int", "seeds"),
    "a number for a table": (
        "[data]",
        "keep = 3\n[data]",
        "run.keep: input should be a table of keys and values; got 3",
        "keep",
    ),
    "misspelt part": (
        'prior = { name = "gaussian" }',
        'prior = { name = "gausian" }',
        "model.prior: there is no prior named 'gausian'; did you mean 'gaussian'? Possible: categorical,",
        "prior",
    ),
    "a part of another kind": (
        'decoder = { name = "mlp"',
        'decoder = { name = "code_mlp"',
        "model.decoder: there is no decoder named 'code_mlp'",
        "decoder",
    ),
    "a table without a name": (
        'conditioner = { name = "none" }',
        "conditioner = {}",
        'model.conditioner: a table that names a conditioner is needed, such as { name = "..." }',
        "conditioner",
    ),
    "unknown top table": ("[data]", "[dta]", "dta: unknown table 'dta'; did you mean 'data'?", "[dta]"),
    "a row's unknown change": (
        'changes = ["A", "B", "C"]',
        'changes = ["A", "Bee", "C"]',
        "row.1.changes: there is no change 'Bee'; did you mean 'B'? Possible: A, B, C",
        'changes = ["A", "Bee"',
    ),
    "a change that cannot be": (
        "[change.C.model]",
        "[change.C.modle]",
        "change.C.modle: a change cannot set 'modle'; did you mean 'model'?",
        "[change.C.modle]",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_shown_with_its_line_and_what_is_possible(name, tiny):
    old, new, text, start = MISTAKES[name]
    edited(tiny, (old, new))
    shown = message(tiny)
    assert text in shown
    assert f"{tiny}:{line_with(tiny, start)}: " in shown


@pytest.mark.parametrize("name", ["no item of two", "one item of two", "no item", "a wrong item alone"])
def test_a_wrong_list_is_one_mistake(name, tiny):
    old, new, _, _ = MISTAKES[name]
    edited(tiny, (old, new))
    assert message(tiny).splitlines()[0].endswith("the recipe has a mistake:")


def test_a_missing_part_is_named(tiny):
    edited(tiny, ('code_game = { name = "nonsaturating" }\n', ""))
    assert f"{tiny}:{line_with(tiny, '[model]')}: model.code_game: is missing [row AAE, A+B+C]" in message(tiny)


def test_all_mistakes_of_all_rows_come_together(tiny):
    edited(tiny, ("steps = 6", "steps = -1"), ("noise = 3", "noise = 0"), ('layer = "hidden1"', 'layr = "hidden1"'))
    shown = message(tiny)
    assert "the recipe has 3 mistakes:" in shown
    assert shown.index("run.steps") < shown.index("model.prior.noise") < shown.index("model.reconstruction.layr")
    assert "[row AAE, A+B+C]" in shown.splitlines()[1]
    assert "[row A+B+C]" in shown.splitlines()[2]


def test_two_changes_that_disagree_are_refused(tiny):
    edited(tiny, ("[change.B.model]", "[change.B.model]\nimproves.prior = false"))
    assert "model.improves.prior: changes 'A' and 'B' of one row set different values: True and False" in message(tiny)


def test_a_part_of_another_name_replaces_the_old_table_whole(tiny):
    edited(tiny, ('prior = { name = "gaussian" }', 'prior = { name = "gaussian", sigma = 2.0 }'))
    recipe = genprior.load_recipe(tiny)
    assert recipe.row("AAE").model.prior.model_dump() == {"name": "gaussian", "sigma": 2.0}
    assert recipe.row("A+B+C").model.prior.noise == 3
    kept = genprior.load_recipe(tiny, settings=["model.encoder.hidden=[5]"]).row("AAE").model.encoder
    assert (kept.hidden, kept.batch_norm) == ((5,), True)


def test_settings_come_last_and_are_typed(tiny):
    plan = genprior.load_recipe(tiny, settings=["run.steps=9", 'model.prior={name="uniform"}']).row("AAE")
    assert (plan.run.steps, plan.model.prior.name) == (9, "uniform")
    assert "run.stps (--set run.stps=9): unknown key 'stps'; did you mean 'steps'?" in message(
        tiny, settings=["run.stps=9"]
    )
    assert "--set data.name=mnist: needs PATH=VALUE with a TOML value" in message(tiny, settings=["data.name=mnist"])
    assert "--set steps: needs PATH=VALUE" in message(tiny, settings=["steps"])


def test_unknown_changes_and_rows_are_refused(tiny):
    assert "--with: there is no change 'D'" in message(tiny, changes=["D"])
    assert "--rows: there is no row 'A+B'; did you mean 'A+B+C'?" in message(tiny, rows=["A+B"])


def test_a_module_optimiser_keeps_what_it_does_not_set(tiny):
    plan = genprior.load_recipe(tiny, settings=["optimiser.encoder.lr=0.5", "optimiser.default.weight_decay=0.1"])
    encoder, decoder = (plan.row("AAE").optimiser_of(name) for name in ("encoder", "decoder"))
    assert (encoder.lr, encoder.weight_decay) == (0.5, 0.1)
    assert (decoder.lr, decoder.weight_decay) == (1e-3, 0.1)


def test_a_module_with_another_method_inherits_what_the_method_has(tiny):
    inherited = [
        "optimiser.default.betas=[0.1,0.9]",
        "optimiser.default.eps=1e-5",
        "optimiser.default.weight_decay=0.1",
    ]
    own = ['optimiser.encoder={name="sgd",momentum=0.5}', 'optimiser.decoder.name="rmsprop"']
    plan = genprior.load_recipe(tiny, settings=[*inherited, *own]).row("AAE")
    assert plan.as_table()["optimiser"]["encoder"] == {
        "name": "sgd", "lr": 1e-3, "weight_decay": 0.1, "momentum": 0.5, "schedule": {"name": "constant", "warmup": 0},
    }  # fmt: skip
    assert (plan.optimiser_of("decoder").lr, plan.optimiser_of("decoder").eps) == (1e-3, 1e-5)


NO_EFFECT = [
    (
        "optimiser.default.momentum=0.9",
        "optimiser.default.momentum (--set optimiser.default.momentum=0.9): 'adam' has no setting 'momentum', which "
        "would have no effect; it is a setting of muon, rmsprop and sgd. Possible: betas, eps, lr, schedule, weight",
    ),
    (
        'optimiser.encoder={name="sgd",betas=[0.9,0.99]}',
        "'sgd' has no setting 'betas', which would have no effect; it is a setting of adam, adam_norm_grad, adamw and "
        "muon. Possible: lr, momentum, schedule, weight_decay",
    ),
    (
        'optimiser.default.schedule={name="linear",factor=0.5}',
        "'linear' has no setting 'factor', which would have no effect; it is a setting of plateau and step. Possible: "
        "final,",
    ),
    ("optimiser.default.schedule.at=[5]", "'constant' has no setting 'at', which would have no effect"),
    (
        'optimiser.default.name="adan"',
        "there is no optimiser named 'adan'; did you mean 'adam'? Possible: adam, adam_norm_grad, adamw, muon, rmsp",
    ),
    (
        "optimiser.default.schedule=3",
        'optimiser.default.schedule (--set optimiser.default.schedule=3): a table that names a schedule is '
        'needed, such as { name = "constant" }. Possible: constant, cosine, linear, piecewise, plateau, step',
    ),
]  # fmt: skip


@pytest.mark.parametrize(("setting", "text"), NO_EFFECT)
def test_settings_without_effect_are_refused(setting, text, tiny):
    assert text in message(tiny, settings=[setting])


def test_a_missing_or_broken_file_says_so(tiny):
    assert "there is no recipe file" in message(tiny.with_name("tinny.toml"))
    assert f"did you mean {tiny}?" in message(tiny.with_name("tinny.toml"))
    edited(tiny, ("steps = 6", "steps = = 6"))
    assert "is not valid TOML: Invalid value (at line 4" in message(tiny)


PLANS = {
    "nothing to learn": (["model.improves.prior=true"], "'gaussian' has no parameters"),
    "borrows what is lacking": (['model.reconstruction.layer="hidden9"'], "compares layer 'hidden9'"),
    "sizes do not fit": (['model.encoder={name="residual"}', "data.size=12"], "12"),
    "a prior of another width": (['model.prior={name="mixture"}'], "mixture"),
    "labels that are not there": (["run.batch=2000"], "run.batch = 2000 is more than the 1437 images"),
    "an optimiser of nobody": (["optimiser.critic.lr=1.0"], "optimiser.critic is not a module of model 'aae'"),
}


@pytest.mark.parametrize("name", PLANS)
def test_parts_that_do_not_fit_are_refused_before_anything_trains(name, tiny):
    settings, text = PLANS[name]
    label = "A+B+C" if "layer" in settings[0] else "AAE"
    recipe = genprior.load_recipe(tiny, rows=[label], settings=settings)
    with pytest.raises(RecipeError, match="cannot be trained") as caught:
        preflight(recipe)
    assert text in str(caught.value)
    assert f"[row {label}]" in str(caught.value)


KEY = st.text("abcdef_-", min_size=1, max_size=6).filter(lambda key: not key.startswith("-"))


@given(st.dictionaries(KEY, st.dictionaries(KEY, st.integers(), min_size=1, max_size=4), min_size=1, max_size=4))
def test_every_key_of_a_written_document_is_found_on_its_line(document):
    rows = [
        f"[{table}]" if key is None else f"{key} = {keys[key]}"
        for table, keys in document.items()
        for key in (None, *keys)
    ]
    text = "\n".join(rows)
    assert tomllib.loads(text) == document
    found = lines(text)
    for table, keys in document.items():
        for key, value in keys.items():
            assert rows[line_of((table, key), found) - 1] == f"{key} = {value}"


WHEN = """
[change.one]
run.steps = 7
[change.one.when.aae.model]
code_size = 9
[change.one.when.vae.model]
warmup = 5
[change.likelihood.model]
name = "vae"
code_size = 3
prior = { name = "gaussian" }
encoder = { name = "mlp", hidden = [8], posterior = "gaussian" }
decoder = { name = "mlp", hidden = [8] }
reconstruction = { name = "pixel", metric = "gaussian", reduction = "sum" }
conditioner = { name = "none" }
[[row]]
label = "VAE"
changes = ["likelihood"]
"""


def test_a_change_may_depend_on_the_model_of_the_row(tiny):
    tiny.write_text(tiny.read_text() + WHEN)
    recipe = genprior.load_recipe(tiny, changes=["one"])
    aae, vae = recipe.row("AAE"), recipe.row("VAE")
    assert (aae.run.steps, aae.model.code_size, aae.model.name) == (7, 9, "aae")
    assert (vae.run.steps, vae.model.code_size, vae.model.warmup, vae.model.name) == (7, 3, 5, "vae")


def test_a_change_may_depend_on_a_part_of_the_model(tiny):
    few = "\n[change.few]\n[change.few.when.code_generator.model]\nprior.noise = 2\n"
    tiny.write_text(tiny.read_text() + few)
    recipe = genprior.load_recipe(tiny, changes=["few"], rows=["AAE"])
    assert recipe.row("AAE").model.prior.name == "gaussian"
    three, default = (f'prior = {{ name = "code_generator"{noise} }}' for noise in (", noise = 3", ""))
    text = tiny.read_text().replace(three, default)
    tiny.write_text(text)
    assert genprior.load_recipe(tiny, changes=["few"]).row("A+B+C").model.prior.noise == 2


def test_a_change_of_a_part_that_does_not_exist_is_refused(tiny):
    tiny.write_text(tiny.read_text() + "\n[change.few.when.code_genrator.model]\nprior.noise = 2\n")
    line = line_with(tiny, "[change.few.when")
    expected = f"{tiny}:{line}: change.few.when.code_genrator: there is no part named 'code_genrator'; did you mean"
    assert f"{expected} 'code_generator'?" in message(tiny)


def test_what_a_change_sets_for_one_model_overrides_what_it_sets_for_all(tiny):
    tiny.write_text(tiny.read_text() + WHEN.replace("run.steps = 7", "run.steps = 7\nmodel.code_size = 11"))
    assert genprior.load_recipe(tiny, changes=["one"], rows=["AAE"]).row("AAE").model.code_size == 9


def test_mistakes_for_one_model_are_shown_with_their_line(tiny):
    tiny.write_text(tiny.read_text() + WHEN.replace("warmup = 5", "warmpu = 5"))
    line = line_with(tiny, "warmpu")
    text = message(tiny, changes=["one"])
    assert f"{tiny}:{line}: model.warmpu: unknown key 'warmpu'; did you mean 'warmup'?" in text
    tiny.write_text(tiny.read_text().replace("[change.one.when.aae.model]", "[change.one.when.aae.modle]"))
    assert "change.one.when.aae.modle: a change cannot set 'modle'; did you mean 'model'?" in message(tiny)


def test_a_change_that_takes_another_model_is_what_later_ones_start_from(tiny):
    later = "\n[change.later.model]\ncode_size = 5\ndecoder.hidden = [4]\n"
    tiny.write_text(tiny.read_text() + WHEN + later)
    model = genprior.load_recipe(tiny, changes=["later"]).row("VAE").model
    assert (model.code_size, model.decoder.hidden, model.encoder.hidden) == (5, (4,), (8,))


def test_a_change_that_takes_another_model_may_not_undo_one_before_it(tiny):
    tiny.write_text(tiny.read_text() + WHEN.replace('["likelihood"]', '["A", "likelihood"]'))
    text = message(tiny)
    assert (
        "model.name: change 'likelihood' chooses another model, 'vae', and would discard what 'A' sets for the "
        "previous one; put 'likelihood' first among the row's changes [row VAE]"
    ) in text


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        (
            'scores=[{name="nll",importance_samples=0}]',
            'scores.0.importance_samples (--set scores=[{name="nll",importance_samples=0}]): input should be greater '
            "than or equal to 1; got 0",
        ),
        (
            'model.prior={name="vampprior",components=0}',
            'model.prior.components (--set model.prior={name="vampprior",components=0}): input should be greater than '
            "or equal to 1; got 0",
        ),
    ],
)
def test_no_samples_and_no_pseudo_inputs_are_refused(setting, text):
    assert text in message(RECIPES / "vampprior_mnist.toml", changes=["quick"], rows=["VAE"], settings=[setting])


def test_a_removed_setting_is_named_with_its_path_and_origin():
    setting = "model.decoder.kernel=4"
    with pytest.raises(RecipeError) as caught:
        genprior.load_recipe("recipes/gans/dcgan.toml", settings=[setting])
    assert "model.decoder.kernel (--set model.decoder.kernel=4): 'kernel' = 4, but this setting was removed" in str(
        caught.value
    )


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["model.rec_wieght=3"], r"'labels_alone' = True, but this setting was removed"),
        (["optimiser.nosuch.lr=1e-3"], r"'labels_alone' = True, but this setting was removed"),
    ],
)
def test_a_row_of_an_older_version_with_a_mistake_is_refused(settings, said):
    with pytest.raises(RecipeError, match=said):
        genprior.load_recipe(
            "recipes/aae_semi_supervised.toml",
            changes=["quick"],
            rows=["100 labels"],
            settings=["model.labels_alone=true", *settings],
        )


def test_a_change_of_the_whole_model_may_be_applied_to_every_row():
    for name, changes in (("aae_dim_reduction", ["labelled", "learned"]), ("aae_semi_supervised", ["learned"])):
        for change in changes:
            assert genprior.load_recipe(f"recipes/{name}.toml", changes=[change]).plans
