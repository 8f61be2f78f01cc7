"""The prior-improvement phase of an adversarial autoencoder: which modules it trains, and whether there is one."""

from __future__ import annotations

from typing import Any

from genprior import PartConfig, PlanError, SettingsTable

__all__ = ["Improves", "has_image_game"]


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
