"""The learning rate that falls when a recorded metric stops improving."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from genprior import PlanError, Schedule, ScheduleConfig, did_you_mean

__all__ = ["Plateau"]


class Plateau(Schedule):
    """The rate is multiplied by `factor` when a recorded metric has not improved for more than `patience` records.

    A record is a line of metrics.jsonl, every `run.log_every` steps. It improves if it is below the best one by more
    than `threshold` times the size of the best one, or above it for `better = "higher"`. A mean that is not finite does
    not.

    References:
        `torch.optim.lr_scheduler.ReduceLROnPlateau`, whose rates these are for a positive metric.
    """

    name = "plateau"

    class Config(ScheduleConfig):
        """Settings of the schedule."""

        metric: str
        """A name in metrics.jsonl, such as "autoencode/decoder/loss"."""
        better: Literal["lower", "higher"] = "lower"
        """Which values of the metric are better."""
        factor: float = Field(0.1, gt=0, lt=1)
        """The factor of each multiplication."""
        patience: int = Field(10, ge=0)
        """Records without improvement that leave the rate as it is; one more lowers it."""
        threshold: float = Field(1e-4, ge=0, lt=1)
        """The smallest improvement, as a share of the best value."""
        final: float = Field(0.0, ge=0, le=1)
        """The lowest learning rate, as a share of `lr`."""

    def __init__(self, config: Any) -> None:
        """Begin at the full rate, without records."""
        super().__init__(config)
        self._factor = 1.0
        self._best: float | None = None
        self._waited = 0

    def factor(self, step: int, steps: int) -> float:
        """max(final, factor^m) after m multiplications."""
        return self._factor

    def recorded(self, metrics: Mapping[str, float | None]) -> None:
        """Count records without improvement.

        Raises:
            PlanError: the metric is not recorded.
        """
        config = self.config
        if config.metric not in metrics:
            possible = [name for name in metrics if name not in ("step", "seconds")]
            raise PlanError(
                f"schedule '{self.name}' listens to '{config.metric}', which is not recorded"
                f"{did_you_mean(config.metric, possible)}. A phase that is due every m steps is in each record if "
                "run.log_every is at least m"
            )
        value = metrics[config.metric]
        if value is not None and self._improves(value):
            self._best, self._waited = value, 0
        else:
            self._waited += 1
        if self._waited > config.patience:
            self._factor, self._waited = max(config.final, self._factor * config.factor), 0

    def _improves(self, value: float) -> bool:
        if self._best is None:
            return True
        gain = self._best - value if self.config.better == "lower" else value - self._best
        least: float = self.config.threshold * abs(self._best)
        return gain > least

    def state(self) -> dict[str, Any]:
        """The factor, the best value, and the records since."""
        return {"factor": self._factor, "best": self._best, "waited": self._waited}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        self._factor, self._best, self._waited = state["factor"], state["best"], state["waited"]
