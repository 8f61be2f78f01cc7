"""Small models of every kind, untrained, with weights and statistics that are not those of the start."""

from __future__ import annotations

import torch

from genprior.engine.build import build_model, model_config
from genprior.parts import DataInfo, FittedPrior
from genprior_std.parts import PARTS

__all__ = ["MODELS", "PRIORS", "model_of", "model_with_prior"]

INFO = DataInfo((1, 8, 8), ("a", "b", "c"), labelled=None)
PARTS_OF_ROLES = {
    "encoder": {"name": "mlp", "hidden": [12], "posterior": "gaussian"},
    "decoder": {"name": "mlp", "hidden": [12], "batch_norm": True},
    "prior": {"name": "code_generator", "noise": 3},
    "code_prior": {"name": "gaussian"},
    "reconstruction": {"name": "pixel"},
    "code_critic": {"name": "code_mlp", "hidden": [12]},
    "image_critic": {"name": "image_mlp", "hidden": [12]},
    "game": {"name": "nonsaturating"},
    "code_game": {"name": "nonsaturating"},
    "image_game": {"name": "nonsaturating"},
    "category_critic": {"name": "code_mlp", "hidden": [12]},
    "style_critic": {"name": "code_mlp", "hidden": [12]},
    "category_game": {"name": "nonsaturating"},
    "style_game": {"name": "nonsaturating"},
    "code_size": 4,
}
PRIORS = {part.name: part for part in PARTS if part.kind == "prior"}
MODELS = {part.name: part for part in PARTS if part.kind == "model"}
POINT = {"name": "mlp", "hidden": [12]}
LIKELIHOOD = {"name": "discretised_logistic"}
PIXELS = {"name": "pixelcnn", "width": 6, "head_width": 6, "blocks": 1, "first_kernel": 3, "distribution": "softmax"}
SUM = {"name": "pixel", "metric": "gaussian", "sigma": 0.5, "reduction": "sum"}
OF_MODELS = {
    "autoencoder": {"encoder": POINT, "prior": {"name": "gaussian"}},
    "rae": {"encoder": POINT, "prior": {"name": "uniform"}},
    "ncrp_vae": {"prior": {"name": "nested_crp", "depth": 2}, "reconstruction": SUM},
    "vae": {"prior": {"name": "gaussian_mixture", "components": 3}, "reconstruction": SUM},
    "iwae": {"prior": {"name": "gaussian"}, "reconstruction": SUM},
    "hvae": {
        "prior": {"name": "vampprior", "components": 4},
        "inner_code_size": 3,
        "inner_encoder": {"name": "gated_mlp", "hidden": [12], "conditional": True},
        "encoder": {"name": "gated_mlp", "hidden": [12]},
        "decoder": {"name": "gated_mlp", "hidden": [12], "conditional": True},
        "reconstruction": SUM,
    },
    "vae_gan": {
        "prior": {"name": "gaussian"},
        "reconstruction": {"name": "learned_similarity", "layer": "hidden1", "reduction": "sum", "scale": "none"},
    },
    "pixelgan": {"decoder": PIXELS, "prior": {"name": "gaussian"}},
    "pixelgan_semi_supervised": {
        "decoder": PIXELS,
        "code_size": 3,
        "prior": {"name": "categorical"},
        "encoder": {"name": "mlp", "hidden": [12], "posterior": "softmax"},
    },
    "pixelcnn": {"decoder": PIXELS},
}  # fmt: skip
OF_PRIORS = {
    "mixture": {"components": 3},
    "categorical_gaussian": {"categories": 3},
    "gaussian_mixture": {"components": 3},
    "vampprior": {"components": 5, "std": 0.5},
    "conditional_gaussian": {"hidden": (8,)},
    "flow": {"hidden": (8,), "transforms": 1},
    "flow_matching": {"hidden": (8,), "solver_steps": 2},
    "diffusion": {"hidden": (8,), "sampler_steps": 3},
    "nested_crp": {"depth": 2},
    "resampled": {"hidden": (8,), "draws": 5, "normaliser_samples": 200},
    "latent_ebm": {"hidden": (8,), "langevin_steps": 3},
    "noise_contrastive": {"hidden": (8,), "proposals": 20},
    "two_stage_vae": {"hidden": (8,)},
}


def model_of(name, **changed):
    """A small model of this name."""
    fields = MODELS[name].Config.model_fields
    table = {role: given for role, given in PARTS_OF_ROLES.items() if role in fields and fields[role].is_required()}
    if "code_size" in fields:
        table["code_size"] = 4
    if "prior" in fields:
        table["prior"] = PARTS_OF_ROLES["prior"]
    return _moved({**table, "name": name, **OF_MODELS.get(name, {}), **changed})


def model_with_prior(name, conditioner="none", **settings):
    """A small model with this prior, fitted or not: an adversarial autoencoder, where it will do."""
    part = PRIORS[name]
    prior = {"name": name, **OF_PRIORS.get(name, {}), **settings}
    if part.updated_by_model:
        return model_of("ncrp_vae", prior=prior)
    fitted = issubclass(part, FittedPrior) and not part.joint
    sizes = {"mixture": 2, "swiss_roll": 2, "categorical_gaussian": 5}
    return model_of(
        "aae",
        code_size=sizes.get(name, 4),
        conditioner={"name": "label" if name == "conditional_gaussian" else conditioner},
        **({"fitted_prior": prior, "prior": {"name": "gaussian"}} if fitted else {"prior": prior}),
    )


def _moved(table):
    info = (
        INFO
        if table["name"] not in ("aae_semi_supervised", "pixelgan_semi_supervised", "labels_alone")
        else INFO._replace(labelled=6)
    )
    model = build_model(model_config(table), info, 0)
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(1)
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        for module in model.modules():
            if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
    return model
