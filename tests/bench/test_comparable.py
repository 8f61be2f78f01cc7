"""A published number stands only beside one that was measured alike; each wrong pairing is a case here."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from rich.console import Console

import genprior
from genprior.cli.table_screen import render_table
from genprior.errors import ScoreError
from genprior.registry import installed
from genprior.tables.columns import Entry, Measured, tabulate
from genprior.tables.formats import as_csv, as_latex
from genprior.tables.protocol import Protocol, facts_of, facts_of_images
from genprior.tables.published import Published, beside, of_plugins, read_published

from .tables import noise, refused, table_of

RECIPES = Path(__file__).parents[2] / "recipes"
NLL = '{ name = "nll", importance_samples = 5_000 }'
ON_VALIDATION = "measured on validation images, published test"
AUGMENTED = "training images shifted, turned or scaled, published as they are"


def plan_of(recipe, label, changes=(), settings=(), rows=None):
    plans = genprior.load_recipe(RECIPES / f"{recipe}.toml", changes=changes, settings=settings, rows=rows).plans
    (plan,) = [plan for plan in plans if plan.label == label]
    return plan


def table(recipe, label, score=None, changes=(), settings=(), rows=None):
    """The table of one row with one score, of its recipe or with other settings, and the published numbers."""
    plan = plan_of(recipe, label, changes, settings, rows)
    name = score if isinstance(score, str) else score["name"]
    config = next((each for each in plan.scores if each.name == name), None)
    if not isinstance(score, str):
        config = installed().find("score", name).Config(**{key: value for key, value in score.items() if key != "name"})
    measured = Measured(config, plan.data.model_dump(mode="json"), {each.key: 1.5 for each in config.make().columns})
    entry = Entry(label, label, 0, [measured], facts=facts_of(plan))
    return tabulate("Title", [entry], published=of_plugins(installed())), name


def cells(*arguments, **keywords):
    made, key = table(*arguments, **keywords)
    return [str(each) for each in made.rows[0].published.get(key, ())]


@pytest.mark.parametrize(
    ("recipe", "label", "score", "numbers"),
    [
        ("vampprior_mnist", "VAE", "nll", ["84.5 (unverified)"]),
        ("vampprior_mnist", "HVAE + VampPrior", "nll", ["81.24 (unverified)"]),
        ("iwae_mnist", "k = 50", "nll", ["84.78 (unverified)"]),
        ("aae_mnist_codes", "AAE 8-D Gaussian", "parzen", ["340 ± 2 (unverified)"]),
        ("aae_semi_supervised", "100 labels", "error_rate", ["1.9 ± 0.1 (unverified)"]),
        ("aae_semi_supervised", "100 labels alone", "error_rate", ["25.8 (unverified)"]),
        ("aae_dim_reduction", "2-D with 100 labels", "error_rate", ["6.08 (unverified)"]),
        ("aae_clustering", "K = 30", "cluster_error", ["4.1 ± 1.13 (unverified)"]),
        ("pixelgan_clustering", "PixelGAN K = 30", "cluster_error", ["5.27 ± 1.81"]),
        ("gans/wgan_gp", "WGAN-GP", "inception_score", ["7.86", "7.86 ± 0.07"]),
        ("table3_ablation", "A+B+C", "inception_score", ["7.31"]),
    ],
)
def test_equal_protocols_stand_side_by_side(recipe, label, score, numbers):
    assert cells(recipe, label, score) == numbers


@pytest.mark.parametrize(
    ("label", "numbers"),
    [
        ("100 labels", ["1.9 ± 0.1 (unverified)"]),
        ("1000 labels", ["1.6 ± 0.08 (unverified)"]),
        ("100 labels alone", ["25.8 (unverified)"]),
        ("1000 labels alone", ["8.73 (unverified)"]),
    ],
)
def test_few_labels_without_shifts_stand_beside_the_published_errors(label, numbers):
    assert cells("aae_semi_supervised", label, "error_rate", changes=("plain",)) == numbers


@pytest.mark.parametrize("label", ["K = 30", "K = 16"])
def test_the_published_settings_of_clusters_stand_beside_the_published_errors(label):
    number = {"K = 30": "4.1 ± 1.13 (unverified)", "K = 16": "9.55 ± 2.05 (unverified)"}[label]
    assert cells("aae_clustering_literal", label, "cluster_error") == [number]


@pytest.mark.parametrize(
    ("recipe", "label", "score"),
    [
        ("aae_clustering", "K = 30 + consistency", "cluster_error"),
        ("aae_semi_supervised", "100 labels + consistency + information", "error_rate"),
        ("aae_dim_reduction", "2-D with 100 labels + adversarial consistency", "error_rate"),
        ("aae_dim_reduction", "2-D with 1000 labels + adversarial consistency", "error_rate"),
        ("pixelgan_clustering", "PixelGAN K = 30 + consistency + information", "cluster_error"),
        ("pixelgan_semi_supervised", "PixelGAN with 20 labels + consistency + information", "error_rate"),
    ],
)
def test_a_row_with_an_addition_stands_beside_no_published_error(recipe, label, score):
    assert cells(recipe, label, score) == []


@pytest.mark.parametrize(
    ("recipe", "label", "score"),
    [
        ("aae_semi_supervised", "100 labels", "error_rate"),
        ("aae_semi_supervised", "1000 labels", "error_rate"),
        ("aae_dim_reduction", "2-D with 100 labels", "error_rate"),
        ("aae_dim_reduction", "2-D with 1000 labels", "error_rate"),
        ("aae_dim_reduction", "10-D with 100 labels", "error_rate"),
        ("pixelgan_clustering", "PixelGAN K = 30", "cluster_error"),
        ("pixelgan_semi_supervised", "PixelGAN with 20 labels", "error_rate"),
        ("pixelgan_semi_supervised", "PixelGAN with 50 labels", "error_rate"),
        ("pixelgan_semi_supervised", "PixelGAN with 100 labels", "error_rate"),
    ],
)
def test_an_addition_under_the_published_label_says_what_differs(recipe, label, score):
    (found,) = cells(recipe, label, score, rows=[label], settings=("model.sorts.consistency=7.0",))
    assert found == "not comparable: sorts consistency 7.0, published 0.0"


@pytest.mark.parametrize(
    ("recipe", "label", "score", "changes", "settings", "differences"),
    [
        (
            "vampprior_mnist", "VAE", {"name": "nll", "importance_samples": 10, "images": 100}, (), (),
            "100 test images, published 10,000; 10 importance samples, published 5,000",
        ),
        ("vampprior_mnist", "VAE", "nll", (), ("data.size=32",), "32 x 32 padded, published 28 x 28"),
        ("vampprior_mnist", "VAE", "nll", (), ("data.limit=1000",), "1,000 training images, published 50,000"),
        ("vampprior_mnist", "VAE", "nll", (), ("data.validation=400",), "59,600 training images, published 50,000"),
        ("vampprior_mnist", "VAE", "nll", ("hour",), (), "1,000 importance samples, published 5,000"),
        (
            "vampprior_mnist", "VAE", "nll", ("convolutional",), (),
            "encoder gated_convolutional, published gated_mlp; decoder gated_convolutional, published gated_mlp",
        ),
        ("iwae_mnist", "k = 5", "nll", ("hour",), (), "1,000 importance samples, published 5,000"),
        (
            "ncrp_digits", "VAE", "nll", ("mnist",), (),
            "1,000 importance samples, published 5,000; code size 10, published 40",
        ),
        (
            "aae_mnist_codes", "AAE 8-D Gaussian", {"name": "parzen", "samples": 100}, (), (),
            "100 samples, published 10,000",
        ),
        ("aae_mnist_codes", "AAE 8-D Gaussian", "parzen", (), ("data.size=32",), "32 x 32 padded, published 28 x 28"),
        (
            "aae_mnist_codes", "AAE 8-D Gaussian", "parzen", (), ("data.size=14", "data.how='resize'"),
            "14 x 14 resized, published 28 x 28",
        ),
        (
            "gans/wgan_gp", "WGAN-GP", {"name": "inception_score", "samples": 100, "splits": 1}, (), (),
            "100 samples, published 50,000; 1 split, published 10",
        ),
        ("gans/wgan_gp", "WGAN-GP", "inception_score", (), ("data.size=64",), "64 x 64 resized, published 32 x 32"),
        (
            "gans/wgan_gp_plain", "WGAN-GP plain", {"name": "fid", "samples": 1_000, "reference": "test"}, (), (),
            "1,000 samples, published 5,000",
        ),
        (
            "gans/wgan_gp_plain", "WGAN-GP plain", "fid", (), (),
            "50,000 samples, published 5,000; 50,000 reference images, published 10,000",
        ),
        (
            "aae_semi_supervised", "100 labels", {"name": "error_rate", "split": "validation"}, (), (),
            "measured on validation images, published test",
        ),
        ("aae_semi_supervised", "100 labels", "error_rate", ("short",), (), AUGMENTED),
        ("aae_semi_supervised", "100 labels", "error_rate", (), ("run.labels=50",), "50 labels, published 100"),
        (
            "vampprior_mnist", "VAE", "nll", (), ("model.encoder.hidden=[300]",),
            "encoder hidden [300], published [300, 300]",
        ),
        # As many validation images as MNIST has test images: the counts alone agree.
        ("vampprior_mnist", "VAE", "nll", (), ('data.test_split="validation"',), ON_VALIDATION),
        ("aae_mnist_codes", "AAE 8-D Gaussian", "parzen", (), ('data.test_split="validation"',), ON_VALIDATION),
        (
            "aae_semi_supervised", "100 labels", "error_rate", (),
            ("data.validation=10_000", 'data.test_split="validation"'), ON_VALIDATION,
        ),
        (
            "aae_clustering", "K = 30", {"name": "cluster_error", "named_by": "train"}, (), (),
            "clusters named by train labels, published validation",
        ),
        (
            "aae_clustering", "K = 30", "cluster_error", ("consistency",), (),
            "sorts consistency 200.0, published 0.0",
        ),
        (
            "infogan_mnist", "InfoGAN", "cluster_error", (), (),
            "clusters named by the surest image, published the best matching",
        ),
        ("pixelgan_semi_supervised", "100 labels alone", "error_rate", (), (), "encoder strided, published mlp"),
    ],
)  # fmt: skip
def test_a_wrong_pairing_says_what_differs(recipe, label, score, changes, settings, differences):
    found = cells(recipe, label, score, changes=changes, settings=settings)
    assert set(found) == {f"not comparable: {differences}"}


@pytest.mark.parametrize("test_split", ["test", "validation"])
def test_generated_images_are_compared_with_the_split_that_is_read(test_split):
    settings = ("data.validation=500", f'data.test_split="{test_split}"')
    plan = plan_of("vampprior_mnist", "VAE", settings=settings)
    score = installed().find("score", "fid").Config(reference="test").make()
    facts = score.facts("fid", facts_of(plan))
    assert (facts["reference"], facts["reference_images"]) == (
        test_split,
        {"test": 10_000, "validation": 500}[test_split],
    )
    assert "split" not in facts or facts["split"] == test_split
    (shown,) = beside(
        [Published(method="VAE", data="mnist", metric="fid", value=1.0, protocol={"reference": "test"})],
        "VAE", {"name": "mnist"}, "fid", facts,
    )  # fmt: skip
    assert ("not comparable: against validation images, published test" == str(shown)) == (test_split == "validation")


def test_images_of_another_tool_are_scored_on_the_split_that_is_read():
    data = plan_of("vampprior_mnist", "VAE", settings=('data.test_split="validation"',)).data.make().facts
    assert facts_of_images(noise(3, 3, 28), data)["split"] == "validation"


def test_a_share_of_the_labels_is_compared_as_their_number():
    settings = ("run.labels=0.002",)
    assert cells("aae_semi_supervised", "100 labels", "error_rate", settings=settings) == ["1.9 ± 0.1 (unverified)"]


def test_every_format_says_what_differs_and_none_the_number():
    made, _ = table(
        "aae_mnist_codes", "AAE 8-D Gaussian", {"name": "parzen", "samples": 100}, settings=["data.size=32"]
    )
    text = "not comparable: 32 x 32 padded, published 28 x 28; 100 samples, published 10,000"
    out = Console(file=io.StringIO(), width=400)
    out.print(render_table(made))
    screen = out.file.getvalue()
    for shown in (made.as_markdown(), made.as_html(), as_latex(made), screen, str(made)):
        assert text in shown and not re.search(r"\b340\b", shown)
    (line,) = csv.DictReader(io.StringIO(as_csv(made)))
    assert (line["published"], line["published_spread"]) == ("", "")
    assert line["published_differs"] == text.removeprefix("not comparable: ")
    (number,) = made.as_json()["rows"][0]["published"]["parzen"]
    assert not number["comparable"] and "value" not in number and "spread" not in number
    assert number["differences"] == text.removeprefix("not comparable: ").split("; ")
    assert "340" not in json.dumps(made.as_json())


def test_the_footnote_names_the_spread_what_is_assumed_and_what_is_not_known():
    made, key = table("pixelgan_clustering", "PixelGAN K = 30", "cluster_error")
    (note,) = [each.citation for each in made.rows[0].published[key]]
    assert "; ± over seeds; assumed: size, framing, test images, training images, augmented" in note
    assert note.endswith("; not known of it: binarisation")
    assert "± over test images" in "".join(table("aae_mnist_codes", "AAE 8-D Gaussian", "parzen")[0].layout().notes)
    facts = facts_of_images(noise(3, 3, 32), plan_of("gans/wgan_gp", "WGAN-GP").data.make().facts)
    (plain, _) = beside(of_plugins(installed()), "WGAN-GP", {"name": "cifar10"}, "inception_score", facts)
    assert str(plain) == "7.86" and "not known of this row: padding or scaling, training images" in plain.citation


def test_a_number_without_a_protocol_is_shown_and_says_so():
    number = Published(method="a", data="digits", metric="fid", value=1.0)
    (shown,) = beside([number], "a", {"name": "digits"}, "fid", {"size": 8})
    assert str(shown) == "1 (unverified)" and shown.citation.endswith("; protocol unknown")


@pytest.mark.parametrize(
    ("protocol", "message"),
    [
        ("sampels = 3", "number 1 is not valid (protocol.sampels: "),
        ('samples = "many"', "number 1 is not valid (protocol.samples"),
        ("samples = 0", "number 1 is not valid (protocol.samples"),
        ('framing = "cut"', "number 1 is not valid (protocol.framing"),
        ("augmented = 1", "number 1 is not valid (protocol.augmented"),
        (
            'samples = 5\nassumed = ["splits"]',
            "assumed names splits, which the protocol does not state; stated are samples",
        ),
        ('over = "seeds"', "protocol.over says what the spread is over, and there is no spread"),
    ],
)
def test_a_wrong_protocol_is_refused_by_file_number_and_field(small, call, tmp_path, protocol, message):
    path = tmp_path / "numbers.toml"
    path.write_text(
        f'[[number]]\nmethod = "a"\ndata = "digits"\nmetric = "fid"\nvalue = 1\n[number.protocol]\n{protocol}\n'
    )
    with pytest.raises(ScoreError) as refusal:
        read_published(path)
    assert message in str(refusal.value) and str(path) in str(refusal.value)
    assert message in refused(call, small / "runs", "--published", path)


def test_bench_compares_runs_and_images_with_a_file_of_ones_own(small, call, tmp_path):
    start = '[[number]]\nmethod = "AAE"\ndata = "digits"\nmetric = "parzen"\n'
    (tmp_path / "numbers.toml").write_text(
        f"{start}value = 11.0\n[number.protocol]\nsize = 8\nsamples = 60\ntraining_images = 1_377\n"
        f"score = {{ validation = 50 }}\nmodel = {{ name = 'aae' }}\n"
        f"{start}value = 12.0\n[number.protocol]\nsize = 28\nscore = {{ validation = 1_000 }}\nsplit = 'test'\n"
    )
    made, _ = table_of(call, tmp_path, small / "runs", "--published", tmp_path / "numbers.toml")
    first, second = made["rows"][0]["published"]["parzen"]
    assert first["comparable"] and first["value"] == 11.0
    assert first["not_known_of_it"] == ["test images"]
    assert second["differences"] == ["8 x 8, published 28 x 28", "validation 50, published 1,000"]


FACTS = st.fixed_dictionaries(
    {},
    optional={
        "size": st.integers(1, 64),
        "framing": st.sampled_from(["original", "padded", "resized", "cropped"]),
        "samples": st.integers(1, 10**6),
        "splits": st.integers(1, 20),
        "labels": st.one_of(st.just("all"), st.integers(1, 1000)),
        "augmented": st.booleans(),
        "reference": st.sampled_from(["train", "test"]),
        "model": st.fixed_dictionaries({"name": st.sampled_from("ab")}, optional={"code_size": st.integers(1, 9)}),
    },
)


@given(FACTS, FACTS)
@example({"size": 1, "framing": "original"}, {"framing": "padded"})
@example({"size": 28, "framing": "original"}, {"size": 28, "framing": "resized"})
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_numbers_differ_exactly_where_a_known_fact_does(stated, facts):
    """Equal facts never differ; what is not stated or not known is no difference, but is named."""
    protocol = Protocol.model_validate(stated)
    shared = (stated.keys() & facts.keys()) - {"model"}
    differ = {name for name in shared if stated[name] != facts[name]}
    model = (
        "model" in stated and "model" in facts and any(facts["model"].get(k) != v for k, v in stated["model"].items())
    )
    assert bool(protocol.differences(facts)) == bool(differ or model)
    assert not protocol.differences(stated) and not protocol.unknown(stated) and not protocol.unstated(stated)
    assert len(protocol.unknown(facts)) == len(stated.keys() - facts.keys())


def test_a_number_is_compared_only_in_the_column_in_which_its_row_was_measured():
    plans = [plan_of("vampprior_mnist", "VAE", settings=settings) for settings in ((), ("data.size=32",))]
    entries = []
    for label, plan in zip(("as is", "padded"), plans, strict=True):
        measured = Measured(plan.scores[0], plan.data.model_dump(mode="json"), {"nll": 90.0, "bits_per_dim": 0.2})
        entries.append(Entry(label, "VAE", 0, [measured], facts=facts_of(plan)))
    entries.append(Entry("waiting", "VAE", facts=facts_of(plans[0]), state="not trained"))
    rows = tabulate("Title", entries, published=of_plugins(installed())).rows
    shown = [{key: [str(each) for each in numbers] for key, numbers in row.published.items()} for row in rows]
    assert shown[0] == {"nll": ["84.5 (unverified)"]}
    assert shown[1] == {"nll@2": ["not comparable: 32 x 32 padded, published 28 x 28"]}
    assert shown[2]["nll"] == ["84.5 (unverified)"]
