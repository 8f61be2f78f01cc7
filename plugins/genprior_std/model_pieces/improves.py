"""The prior-improvement phase of an adversarial autoencoder: which modules it trains, and which images it sees."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from genprior import PartConfig, PlanError, SettingsTable

__all__ = ["Improves", "has_image_game", "real_and_fakes"]


class Improves(SettingsTable):
    """Which modules the prior-improvement phase trains, beside the image critic."""

    prior: bool = False
    """A: the image game trains the prior, a code generator."""
    decoder: bool = False
    """C: the image game trains the decoder too (paper, footnote 2)."""

    @property
    def modules(self) -> tuple[str, ...]:
        """The names of the modules that are trained, of `prior` and `decoder`."""
        return tuple(name for name, trained in self if trained)


def has_image_game(model: str, config: Any) -> bool:
    """Whether a model with these settings has an image critic, an image game and the phase that trains them.

    It has if `improves` names a module, or if a part borrows the image critic.

    Args:
        model: the model's name, for the message.
        config: the model's settings, with `improves`, `image_critic` and `image_game`.

    Raises:
        PlanError: it needs them, and the settings name no critic or no game.
    """
    if config.improves.prior and not config.prior.part.reparameterised:
        raise PlanError(
            f"model '{model}' with improves.prior = true trains the prior by images of its samples, and samples of "
            f"prior '{config.prior.name}' have no gradient in its parameters. Leave improves.prior out, or use a prior "
            "that learns through its samples ('code_generator', 'flow')"
        )
    parts = {role: getattr(config, role) for role in type(config).model_fields}
    needs = [f"improves.{name} = true" for name in config.improves.modules] + [
        f"{role} '{part.name}'"
        for role, part in parts.items()
        if isinstance(part, PartConfig) and role != "image_game" and "image_critic" in part.part.borrows_of(part)
    ]
    missing = [role for role in ("image_critic", "image_game") if parts[role] is None]
    if needs and missing:
        examples = {"image_critic": "dcgan", "image_game": "nonsaturating"}
        added = " and ".join(f'{role} = {{ name = "{examples[role]}" }}' for role in missing)
        raise PlanError(
            f"model '{model}' with {' and '.join(needs)} needs {' and '.join(missing)}, which [model] does not name. "
            f"Add {added}, or others: `genprior parts critic` and `genprior parts game` list them"
        )
    return bool(needs)


def real_and_fakes(model: Any, x: Tensor) -> list[tuple[Tensor, Tensor]]:
    """What the image critic of a model of categories and styles sees: x, x_new, and x_rec if settings say so.

    Each is a pair of images, as many as x has, and of the condition, which is empty.

    Args:
        model: a `CategoryAndStyle` whose settings have `improves` and `reconstruction_as_fake`.
        x: real images, [n, c, h, w].
    """
    no_condition, improves = x.new_zeros(len(x), 0), model.config.improves
    pairs = [(x, no_condition)]
    with torch.set_grad_enabled(bool(improves.modules)):  # saves memory; run_phase decides what is trained
        pairs.append((model.generate(model.condition(x)), no_condition))  # x_new
    if model.config.reconstruction_as_fake:
        with torch.no_grad():
            logits, z = model.codes(x, draw=True)
            code = model.representation(logits.softmax(1), z)
        with torch.set_grad_enabled(improves.decoder):
            pairs.append((model.decoder(code, no_condition), no_condition))  # x_rec
    return pairs
