"""Maps of codes: those of images above, those of the prior below."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from genprior import (
    DataError,
    Drawing,
    Figure,
    PartConfig,
    PlanError,
    Points,
    TrainedRun,
    evaluating,
    scatter_panels,
    seeded,
)
from genprior_std.answers import answers_in_batches
from genprior_std.figures.arrays import arrays_of
from genprior_std.figures.labels import shared_labels

__all__ = ["CodeMaps"]

SEEDS = 2**32
"""How many seeds scikit-learn takes; larger ones are taken modulo this number."""


class CodeMaps(Figure):
    """For each run a map of the codes of held-out images, by true label, and one of the prior's, by requested label.

    The maps are made by t-SNE (scikit-learn's, started from principal components, its seed that of the figure modulo
    2^32), each for itself: places of two maps cannot be compared.

    Arrays: `image_codes` and `prior_codes` [runs, n, d], `true_labels` and `asked_labels` [runs, n], `image_places` and
    `prior_places` [runs, n, 2]; `classes` and `asked`, the names of the labels and of what is requested. If there are
    fewer codes of images than labels to request, the arrays of the prior have one for each label, and so another n.

    Source: van der Maaten and Hinton, "Visualizing data using t-SNE", 2008.
    """

    class Config(PartConfig):
        """How the maps are made."""

        points: int = Field(default=1000, ge=4)
        """Codes in each map; as many as there are held-out images, if these are fewer. The prior's has at least one of
        each label that can be requested."""
        perplexity: float = Field(default=30.0, ge=1)
        """The effective number of neighbours of a point; less than the number of points."""

    def draw(self, runs: Sequence[TrainedRun], seed: int) -> Drawing:
        """Draw the maps of all runs.

        Raises:
            PlanError: a model has no encoder or no prior of codes, takes no labels, or has other numbers of them.
            DataError: the images have no labels, or there are too few, or codes are not finite or all the same.
        """
        (kind, names), classes = shared_labels(runs), runs[0].classes
        if not classes or any(run.classes != classes for run in runs):
            raise DataError(
                f"figure '{self.name}' colours codes of images by their labels, which must be those of one data set; "
                f"the data of row '{runs[0].label}' has {len(classes)} classes. Give runs on labelled images"
            )
        image_codes, true_labels, prior_codes, asked_labels = [], [], [], []
        for run in runs:
            codes, labels = self._of_images(run, seed)
            image_codes.append(codes)
            true_labels.append(labels)
            asked = torch.arange(max(len(codes), len(names))) % len(names)
            prior_codes.append(self._of_prior(run, asked, seed))
            asked_labels.append(asked)
        images = [self._places(codes, run, seed) for codes, run in zip(image_codes, runs, strict=True)]
        prior = [self._places(codes, run, seed) for codes, run in zip(prior_codes, runs, strict=True)]
        picture = scatter_panels(
            [
                [Points(*each) for each in zip(images, true_labels, strict=True)],
                [Points(*each) for each in zip(prior, asked_labels, strict=True)],
            ],
            titles=[run.label for run in runs],
            rows=["codes of images", "codes of the prior"],
            names=[("true label", *classes), (f"requested {kind}", *names)],
        )
        return Drawing(
            picture,
            arrays_of(
                runs,
                image_codes=_stacked(runs, image_codes), true_labels=torch.stack(true_labels),
                prior_codes=_stacked(runs, prior_codes), asked_labels=torch.stack(asked_labels),
                image_places=torch.stack(images), prior_places=torch.stack(prior), classes=classes, asked=names,
            ),
        )  # fmt: skip

    def _of_images(self, run: TrainedRun, seed: int) -> tuple[Tensor, Tensor]:
        """Codes [n, d] of held-out images, drawn at random, and their labels [n]."""
        held_out = run.images("test")
        with seeded(seed, "images of the map"):
            some = held_out.take(torch.randperm(len(held_out.images))[: self.config.points])
        model = run.model
        with evaluating(model):
            codes = answers_in_batches(
                some, model.encode, model=model, device=next(model.parameters()).device, seed=seed
            )
        if codes is None:
            raise PlanError(f"row '{run.label}' has no encoder, so its images have no codes; select rows with --rows")
        return codes, some.labels

    @staticmethod
    def _of_prior(run: TrainedRun, labels: Tensor, seed: int) -> Tensor:
        """Codes [n, d] of the prior, one for each label [n]."""
        model = run.model
        device = next(model.parameters()).device
        with evaluating(model), seeded(seed, "codes of the map"):
            codes = model.draw_codes(model.condition(torch.zeros(len(labels), device=device), labels.to(device)))
        if codes is None:
            raise PlanError(f"row '{run.label}' has no prior that draws codes; select rows with --rows")
        return codes.cpu()

    def _places(self, codes: Tensor, run: TrainedRun, seed: int) -> Tensor:
        """The places [n, 2] of codes [n, d] in a map of their own."""
        perplexity: float = self.config.perplexity
        if len(codes) <= perplexity:
            raise DataError(
                f"figure '{self.name}' has {len(codes)} codes of row '{run.label}', and perplexity = {perplexity:g} "
                f"needs more; set a smaller one, such as --set perplexity={max(1, len(codes) // 4)}, or more points"
            )
        if not bool(codes.isfinite().all()) or bool((codes == codes[:1]).all()):
            raise DataError(f"the codes of row '{run.label}' are all the same or not finite, so they have no map")
        # scikit-learn takes seconds to import.
        from sklearn.manifold import TSNE

        places = TSNE(perplexity=perplexity, init="pca", random_state=seed % SEEDS).fit_transform(
            codes.double().numpy()
        )
        return torch.from_numpy(np.asarray(places, dtype=np.float64))


def _stacked(runs: Sequence[TrainedRun], codes: Sequence[Tensor]) -> Tensor:
    """The codes of all runs [runs, n, d]; narrower ones are filled with NaN, because the runs may differ in d."""
    width = max(each.shape[1] for each in codes)
    return torch.stack([torch.nn.functional.pad(each, (0, width - each.shape[1]), value=torch.nan) for each in codes])
