"""Every standard part keeps the contract of its kind."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import genprior
from genprior import DataInfo, DensityPrior, FeatureCritic, Part, PartConfig
from genprior.testing import (
    check_conditioner,
    check_critic,
    check_dataset,
    check_decoder,
    check_embedder,
    check_encoder,
    check_exporter,
    check_game,
    check_hook,
    check_model,
    check_optimiser,
    check_prior,
    check_reconstruction,
    check_schedule,
    check_score,
)
from genprior_std.parts import PARTS

from ..small_embedder import HashedWords

BY_NAME: dict[tuple[str, str], Any] = {(part.kind, part.name): part for part in PARTS}

# Settings and sizes for parts that the defaults do not suit; every other part is checked with none.
SETTINGS: dict[tuple[str, str], dict[str, Any]] = {
    ("prior", "mixture"): {"components": 3},
    ("prior", "categorical_gaussian"): {"categories": 3},
    ("prior", "gaussian_mixture"): {"components": 3},
    ("prior", "vampprior"): {"components": 5, "std": 0.5},
    ("prior", "conditional_gaussian"): {"hidden": (8,)},
    ("prior", "flow"): {"hidden": (8,), "transforms": 1},
    ("prior", "flow_matching"): {"hidden": (8,), "solver_steps": 4},
    ("prior", "diffusion"): {"hidden": (8,), "sampler_steps": 4},
    ("prior", "nested_crp"): {"depth": 2},
    ("prior", "resampled"): {"hidden": (8,), "draws": 5, "normaliser_samples": 200},
    ("prior", "latent_ebm"): {"hidden": (8,), "langevin_steps": 5},
    ("prior", "noise_contrastive"): {"hidden": (8,), "proposals": 20},
    ("prior", "two_stage_vae"): {"hidden": (8,)},
    ("encoder", "gated_mlp"): {"hidden": (16,), "conditional": True},
    ("encoder", "gated_convolutional"): {"width": 4, "hidden": 8, "conditional": True},
    ("encoder", "larsen"): {"width": 4, "hidden": 8},
    ("decoder", "gated_mlp"): {"hidden": (16,), "conditional": True},
    ("decoder", "gated_convolutional"): {"width": 4, "hidden": 8, "conditional": True},
    ("decoder", "larsen"): {"width": 4},
    ("decoder", "dcgan"): {"width": 4},
    ("decoder", "wgan_resnet"): {"width": 4},
    ("decoder", "began"): {"width": 4},
    ("decoder", "infogan"): {"width": 4, "hidden": 16},
    ("critic", "larsen"): {"width": 4, "hidden": 8},
    ("critic", "dcgan"): {"width": 4},
    ("critic", "wgan_resnet"): {"width": 4},
    ("critic", "autoencoder"): {"width": 4, "hidden": 8},
    ("critic", "infogan"): {"width": 4, "hidden": 16},
    ("encoder", "mlp"): {"hidden": (16,), "posterior": "gaussian", "conditional": True},
    ("encoder", "residual"): {"width": 4, "posterior": "gaussian"},
    ("decoder", "mlp"): {"hidden": (16,), "conditional": True},
    ("decoder", "residual"): {"width": 4},
    ("encoder", "strided"): {"widths": (4, 8), "conditional": True},
    ("decoder", "pixelcnn"): {
        "width": 6,
        "head_width": 6,
        "blocks": 1,
        "first_kernel": 3,
        "distribution": "softmax",
        "conditional": True,
    },
    ("schedule", "plateau"): {"metric": "autoencode/encoder/loss", "patience": 3},
    ("schedule", "piecewise"): {"at": (3, 9), "factors": (0.7, 0.1)},
    ("critic", "code_mlp"): {"hidden": (16,)},
    ("critic", "image_mlp"): {"hidden": (16,)},
    ("critic", "image_convolutional"): {"width": 4, "hidden": 16},
    ("conditioner", "infogan"): {"categorical": (3,), "continuous": 1},
    ("conditioner", "sentence"): {"embedder": HashedWords.Config(size=5), "kept": 20},
}
CALLED: dict[tuple[str, str], dict[str, Any]] = {
    ("prior", "categorical_gaussian"): {"code": 5},
    ("prior", "code_generator"): {"code": 3},
    ("prior", "exemplar"): {"known": 0},
    ("prior", "vampprior"): {"known": 0},
    ("reconstruction", "learned_similarity"): {"batch_statistic": True},
    ("conditioner", "label"): {"labels": True, "one_hot": True},
    ("conditioner", "infogan"): {"labels": True},
    ("conditioner", "partial_label"): {"labels": True, "one_hot": True},
    ("conditioner", "none"): {"labels": False},
    ("conditioner", "sentence"): {"labels": False},
}


def of_kind(kind: str) -> list[Any]:
    return [pytest.param(part, id=part.name) for part in PARTS if part.kind == kind]


def settings(part: type[Part]) -> PartConfig:
    return part.Config(**SETTINGS.get((part.kind, part.name), {}))


def called(part: type[Part]) -> dict[str, Any]:
    return CALLED.get((part.kind, part.name), {})


@pytest.mark.parametrize("part", [p for p in of_kind("prior") if p.id != "conditional_gaussian"])
def test_prior(part: Any) -> None:
    check_prior(settings(part), **called(part))


# What a category is asked with is the code itself, and so no draw; tests/density/test_categorical.py has that.
@pytest.mark.parametrize("part", [p for p in of_kind("prior") if p.id != "categorical"])
def test_prior_with_a_condition(part: Any) -> None:
    depends = part.name in (
        "mixture", "swiss_roll", "code_generator", "categorical_gaussian", "conditional_gaussian", "flow",
        "gaussian_mixture", "kde", "nearest", "two_stage_vae",
    )  # fmt: skip
    check_prior(settings(part), asked=3, uses_asked=depends, **called(part))


def test_some_standard_priors_have_a_density() -> None:
    assert sum(issubclass(part, DensityPrior) for part in PARTS) >= 4


@pytest.mark.parametrize("part", of_kind("encoder"))
def test_encoder(part: Any) -> None:
    check_encoder(settings(part), known=3)


@pytest.mark.parametrize("part", of_kind("decoder"))
def test_decoder(part: Any) -> None:
    check_decoder(settings(part), known=3, image=(3, 16, 16))


@pytest.mark.parametrize("part", of_kind("critic"))
def test_critic(part: Any) -> None:
    check_critic(settings(part), of="images" if issubclass(part, FeatureCritic) else "codes", known=3)


@pytest.mark.parametrize("part", of_kind("reconstruction"))
def test_reconstruction(part: Any) -> None:
    check_reconstruction(settings(part), known=3, **called(part))


@pytest.mark.parametrize("part", of_kind("conditioner"))
def test_conditioner(part: Any) -> None:
    check_conditioner(settings(part), **called(part))


@pytest.mark.parametrize("part", of_kind("embedder"))
def test_embedder(part: Any) -> None:
    check_embedder(settings(part))


@pytest.mark.parametrize("part", of_kind("game"))
def test_game(part: Any) -> None:
    check_game(settings(part))


@pytest.mark.parametrize("part", of_kind("optimiser"))
def test_optimiser(part: Any) -> None:
    check_optimiser(settings(part))
    changed = {"momentum": 0.9} if "momentum" in part.Config.model_fields else {}
    check_optimiser(part.Config(lr=1e-2, weight_decay=1e-3, **changed))


@pytest.mark.parametrize("part", of_kind("schedule"))
def test_schedule(part: Any) -> None:
    check_schedule(settings(part))
    check_schedule(part.Config(**{**SETTINGS.get((part.kind, part.name), {}), "warmup": 5}))


def aae(**changes: Any) -> PartConfig:
    roles = {
        "prior": ("prior", "gaussian"),
        "encoder": ("encoder", "mlp"),
        "decoder": ("decoder", "mlp"),
        "code_critic": ("critic", "code_mlp"),
        "image_critic": ("critic", "image_convolutional"),
        "reconstruction": ("reconstruction", "pixel"),
        "conditioner": ("conditioner", "none"),
        "code_game": ("game", "nonsaturating"),
        "image_game": ("game", "nonsaturating"),
    }
    parts = {role: settings(BY_NAME[key]) for role, key in roles.items()}
    return BY_NAME["model", "aae"].Config(code_size=4, **{**parts, **changes})


@pytest.mark.parametrize("conditioner", ["none", "label", "infogan", "sentence"])
@pytest.mark.parametrize(
    ("learned", "similarity", "both"),
    [(False, False, False), (True, False, False), (False, True, False), (False, False, True), (True, True, True)],
)
def test_adversarial_autoencoder(learned: bool, similarity: bool, both: bool, conditioner: str) -> None:
    changes: dict[str, Any] = {
        "improves": {"prior": learned, "decoder": both},
        "conditioner": settings(BY_NAME["conditioner", conditioner]),
    }
    if learned:
        changes["prior"] = BY_NAME["prior", "code_generator"].Config()
    if similarity:
        changes["reconstruction"] = BY_NAME["reconstruction", "learned_similarity"].Config()
    check_model(aae(**changes), DataInfo((1, 16, 16), ("a", "b", "c"), captioned=conditioner == "sentence"))


@pytest.mark.parametrize(("prior", "conditioner"), [("gaussian", "none"), ("gaussian", "label"), ("vampprior", "none")])
def test_variational_autoencoder(prior: str, conditioner: str) -> None:
    roles = {
        "prior": ("prior", prior),
        "encoder": ("encoder", "mlp"),
        "decoder": ("decoder", "mlp"),
        "conditioner": ("conditioner", conditioner),
    }
    parts: dict[str, Any] = {role: settings(BY_NAME[key]) for role, key in roles.items()}
    pixel = BY_NAME["reconstruction", "pixel"].Config(metric="gaussian", sigma=0.5, reduction="sum")
    config = BY_NAME["model", "vae"].Config(code_size=4, reconstruction=pixel, warmup=3, **parts)
    check_model(config, DataInfo((1, 16, 16), ("a", "b", "c")))


# ---------------------------------------------------------------------------------------------------------------------
# Data sets, scores, exporters and hooks
# ---------------------------------------------------------------------------------------------------------------------

DOWNLOADED = {"cifar10", "fashion_mnist", "flowers102", "mnist", "svhn"}
"""Data sets that are not on every machine."""
INCEPTION = {"inception_score"}
"""Scores on features of a network that is not on every machine."""


def own_images(folder: Path, name: str) -> Path:
    """Ten images of two classes, as the data sets of a user's own files take them."""
    images = (torch.arange(20 * 64) % 251).to(torch.uint8).view(20, 8, 8).numpy()
    if name == "arrays":
        np.savez(folder / "images.npz", images=images, labels=np.arange(20) % 2, classes=np.array(["a", "b"]))
        return folder / "images.npz"
    if name == "webdataset":
        with tarfile.open(folder / "0.tar", "w") as shard:
            for place, image in enumerate(images):
                written = io.BytesIO()
                Image.fromarray(image).save(written, "PNG")
                for suffix, content in (("png", written.getvalue()), ("cls", b"%d" % (place % 2))):
                    member = tarfile.TarInfo(f"{place}.{suffix}")
                    member.size = len(content)
                    shard.addfile(member, io.BytesIO(content))
        return folder / "0.tar"
    for place, image in enumerate(images):
        (folder / "ab"[place % 2]).mkdir(exist_ok=True)
        Image.fromarray(image).save(folder / "ab"[place % 2] / f"{place}.png")
    return folder


@pytest.mark.parametrize("part", [p for p in of_kind("dataset") if p.id not in DOWNLOADED])
def test_dataset(part: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENPRIOR_DATA", str(tmp_path / "cache"))
    given: dict[str, Any] = {"size": 8} if "size" in part.Config.model_fields else {}
    if part.locations:
        (tmp_path / "own").mkdir()
        given |= {"path": own_images(tmp_path / "own", part.name), "test_fraction": 0.4}
    if "colourings" in part.Config.model_fields:
        given |= {"colourings": 1}
    if "content_hash" in part.Config.model_fields:
        labels = torch.arange(40) % 2
        check_dataset(genprior.in_memory(torch.arange(40 * 64).remainder(251).byte().view(40, 1, 8, 8), labels=labels))
    else:
        check_dataset(part.Config(**given))


def vae(**changes: Any) -> PartConfig:
    roles = {
        "prior": ("prior", "gaussian"),
        "encoder": ("encoder", "mlp"),
        "decoder": ("decoder", "mlp"),
        "conditioner": ("conditioner", "none"),
    }
    parts: dict[str, Any] = {role: settings(BY_NAME[key]) for role, key in roles.items()}
    pixel = BY_NAME["reconstruction", "pixel"].Config(metric="gaussian", sigma=0.5, reduction="sum")
    return BY_NAME["model", "vae"].Config(code_size=4, reconstruction=pixel, **{**parts, **changes})


def of_labels() -> PartConfig:
    return vae(conditioner=settings(BY_NAME["conditioner", "label"]))


def of_codes() -> PartConfig:
    return aae(conditioner=settings(BY_NAME["conditioner", "infogan"]))


MODELS: dict[str, Callable[[], PartConfig]] = {
    "code_grid": of_codes,
    "label_grid": of_labels,
    "category_purity": of_codes,
    "classifier_score": of_labels,
    "label_accuracy": of_labels,
    "style_consistency": of_labels,
}
FEW: dict[str, Any] = {
    "samples": 20,
    "splits": 2,
    "bandwidths": 3,
    "batch": 20,
    "draws": 4,
    "images": 20,
    "extractor": "random",
    "subset_size": 10,
    "permutations": 20,
}
"""Small values of settings that scores have."""


TRACKERS = ("mlflow", "tensorboard", "trackio", "wandb")
"""Hooks of other libraries; tests/trackers checks them where these are installed."""


def few(part: Any) -> PartConfig:
    return part.Config(**{name: value for name, value in FEW.items() if name in part.Config.model_fields})


@pytest.mark.parametrize("part", [p for p in of_kind("score") if p.id not in INCEPTION])
def test_score(part: Any) -> None:
    check_score(few(part), model=MODELS.get(part.name, vae)())


@pytest.mark.parametrize("part", of_kind("exporter"))
def test_exporter(part: Any) -> None:
    check_exporter(part, model=MODELS.get(part.name, vae)())


@pytest.mark.parametrize("part", [p for p in of_kind("hook") if p.id not in TRACKERS])
def test_hook(part: Any) -> None:
    given = {"samples": 4, "images": 20, "columns": 3, "clusters": 2, "members": 2}
    check_hook(part.Config(**{name: value for name, value in given.items() if name in part.Config.model_fields}))
