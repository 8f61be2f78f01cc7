"""How many samples of a label the classifier takes for that label."""

from __future__ import annotations

from pydantic import Field

from genprior import Column, PartConfig, ScoreContext, sample_context
from genprior_std.scores.asked import ClassifiedScore
from genprior_std.scores.classifier import CAVEAT, classifier

__all__ = ["LabelAccuracy"]


class LabelAccuracy(ClassifiedScore):
    """The share of samples, in percent, that a classifier gives to the label they were asked for; higher is better.

        label_accuracy = 100 / N sum_i [c(x_i) = y_i],    y_i = i mod K,    x_i ~ p(x | y_i)

    c is the classifier that was trained on the training split, K the number of labels. `real_label_accuracy` is its
    accuracy on held-out real images. A model that ignores its label has 100 / K; one that makes only the clearest image
    of each label may be above real images, so read it beside a score of variety.

    References:
        Odena, Olah and Shlens, Conditional Image Synthesis with Auxiliary Classifier GANs, 2017, section 4.1, with
        Inception in place of this classifier.
    """

    name = "label_accuracy"
    higher_is_better = True
    caveat = CAVEAT
    kinds = ("label",)

    class Config(PartConfig):
        """How many images are scored."""

        samples: int = Field(default=5_000, gt=0)
        """How many generated images, of each label in turn."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of tables."""
        return (Column(self.name, "label recognised %", True),)

    def measure(self, context: ScoreContext) -> dict[str, float]:
        """The accuracy on samples and on held-out real images, in percent.

        Raises:
            ScoreError: the model takes no label, or there are fewer samples than labels.
        """
        full = sample_context(context)
        with full.trained() as model:
            self.check_row(model, full.real)
            y, images = self.draw_in_turn(model, full.seed, self.config.samples)
        judge, test = classifier(full), full.real("test")
        real = full.features(judge, "test").logits.argmax(1) == test.labels
        return {
            self.name: 100 * float((judge.classes_of(images) == y).double().mean()),
            f"real_{self.name}": 100 * float(real.double().mean()),
        }
