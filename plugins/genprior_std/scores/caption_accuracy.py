"""How often images of a caption have the properties that the caption speaks of."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from pydantic import Field
from torch import Tensor

from genprior import (
    Attribute,
    Column,
    ImageSet,
    Model,
    PartConfig,
    SampleContext,
    ScoreContext,
    ScoreError,
    generate,
    sample_context,
)
from genprior_std.scores.asked import AskedScore
from genprior_std.scores.classifier import CAVEAT, ClassifierExtractor, trained_once
from genprior_std.scores.entropy import random_rows

__all__ = ["CaptionAccuracy", "has_new_pair", "shares_right"]


class CaptionAccuracy(AskedScore):
    """The share of captions, in percent, whose image has every property that the caption states; higher is better.

        caption_accuracy = 100 / n sum_i [c_a(x_i) = v_ia for every attribute a that caption i states]

    Images x_i are of the first captions of test images, taken in turn, one for each; of more test images than
    `samples`, that many are chosen under a fixed seed. v_ia is the value of attribute a
    (`genprior.ImageSet.attributes`) that caption i states, and c_a a classifier trained on the training images whose
    caption states a, for that attribute alone; it is kept on disk as that of the classes is. It is trained on images
    shifted by up to an eighth of their side, so an attribute must not be a place in the image.

    Writes, for captions each pair of whose values occurs in the captions of some training image, `caption_accuracy` and
    `caption_<attribute>`, the share right among those that state the attribute; for the other captions, which pair
    values that training never shows together, the same with the ending `_unseen`, and none of these where there are no
    such captions. `real_` before a name is the same share of the test images themselves: the accuracy of the
    classifiers, and of all at once.

    The measure is of this toolkit; it puts a number to the pictures of "Learning priors for adversarial autoencoders",
    section 4.3.
    """

    rehearsed = False
    name = "caption_accuracy"
    higher_is_better = True
    caveat = CAVEAT
    kinds = ("text",)

    class Config(PartConfig):
        """How many images are scored."""

        samples: int = Field(default=2_000, gt=0)
        """How many generated images, one for each caption in turn."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of tables."""
        return (
            Column("caption_accuracy", "captions right %", True),
            Column(
                "caption_accuracy_unseen",
                "captions right % (unseen pairs)",
                True,
                "every pair of values in the test captions is also in a training caption",
            ),
        )

    def check_row(self, model: Model, load: Callable[[str], ImageSet]) -> None:
        """Refuse a model without text, and images without captions or without attributes that can be learnt.

        Raises:
            ScoreError: says what the model or the data lacks.
        """
        self.check_asks(model)
        for split in ("train", "test"):
            images = load(split)
            if not images.captions or not images.attributes:
                lacks = "attributes (what the captions state, in numbers)" if images.captions else "captions"
                raise ScoreError(
                    f"the images of the split '{split}' have no {lacks}, so nothing can be compared with the samples. "
                    "Leave the score out of this row, or use a data set that has captions and attributes, such as "
                    "'captioned_digits'"
                )
        _check_attributes(load("train").attributes, load("test").attributes)

    def measure(self, context: ScoreContext) -> dict[str, float]:
        """All shares in percent.

        Raises:
            ScoreError: the model takes no text, or the data has no captions or attributes.
        """
        full = sample_context(context)
        train, test = full.real("train"), full.real("test")
        # Of more test images than samples, that many over all of them: a folder is sorted by class.
        turn = random_rows(torch.arange(len(test.images)), self.config.samples)
        turn = turn[torch.arange(self.config.samples) % len(turn)]
        with full.trained() as model:
            self.check_row(model, full.real)
            captions = [test.captions[place][0] for place in turn[: len(test.images)].tolist()]
            images = generate(model, self.config.samples, seed=full.seed, text=captions)
        judges = [_judge(full, train, test, place) for place in range(len(train.attributes))]
        stated = _values(test.attributes)
        new = has_new_pair(stated, _values(train.attributes))
        names = _keys(train.attributes)
        judged = torch.stack([judge.classes_of(images) for judge in judges], 1)
        real = torch.stack([full.features(judge, "test").logits.argmax(1) for judge in judges], 1)
        generated = shares_right(stated[turn], judged, new[turn], names)
        return generated | {f"real_{key}": value for key, value in shares_right(stated, real, new, names).items()}


def has_new_pair(stated: Tensor, known: Tensor) -> Tensor:
    """Whether a caption states two values that no caption of a training image states together: bool [n].

    Args:
        stated: values int64 [n, attributes], -1 where a caption does not state one.
        known: the same of the training images.
    """
    new = torch.zeros(len(stated), dtype=torch.bool)
    for a in range(stated.shape[1]):
        for b in range(a):
            both, pair = (stated[:, (a, b)] >= 0).all(1), stated[:, (a, b)]
            seen = torch.unique(known[:, (a, b)][(known[:, (a, b)] >= 0).all(1)], dim=0)
            new |= both & ~(pair[:, None] == seen).all(2).any(1)
    return new


def shares_right(stated: Tensor, judged: Tensor, new: Tensor, names: Sequence[str]) -> dict[str, float]:
    """The shares right in percent, of all attributes at once and of each, of captions without and with a new pair.

    Args:
        stated: values that captions state, int64 [n, attributes], -1 where a caption does not state one.
        judged: values of their images, int64 [n, attributes].
        new: whether a caption has a new pair of values, bool [n].
        names: of the attributes.

    Returns:
        `caption_accuracy` and `caption_<name>`, and those with the ending `_unseen`; without those of no caption.
    """
    states, right = stated >= 0, stated == judged
    # Each is (whether it counts, whether it is right), [n].
    kinds = {"accuracy": (states.any(1), (right | ~states).all(1))}
    kinds |= {name: (states[:, place], right[:, place]) for place, name in enumerate(names)}
    return {
        f"caption_{name}{ending}": 100 * float(right[counts & group].double().mean())
        for ending, group in (("", ~new), ("_unseen", new))
        for name, (counts, right) in kinds.items()
        if (counts & group).any()
    }


def _check_attributes(train: Sequence[Attribute], test: Sequence[Attribute]) -> None:
    """Refuse attributes that cannot be learnt, that differ between the splits, or whose results would share a key."""
    if [each[:2] for each in train] != [each[:2] for each in test]:
        raise ScoreError(
            f"the training images have the attributes {_described(train)}, and the test images {_described(test)}; "
            "give both the same attributes, with the same names of values in the same order"
        )
    keys = ["accuracy", *_keys(train)]
    if shared := [key for key in keys if keys.count(key) > 1]:
        raise ScoreError(
            f"two results would be called 'caption_{shared[0]}'; rename the attributes ({_described(train)}) so that "
            "they differ from each other and from 'accuracy'"
        )
    for attribute in train:
        stated = len(torch.unique(attribute.values[attribute.values >= 0]))
        if stated < 2:
            raise ScoreError(
                f"the captions of the training images state {stated} of the values of '{attribute.name}' "
                f"({', '.join(attribute.names)}), and a classifier needs at least 2; leave this attribute out of the "
                "data"
            )


def _keys(attributes: Sequence[Attribute]) -> list[str]:
    return [attribute.name.replace(" ", "_") for attribute in attributes]


def _described(attributes: Sequence[Attribute]) -> str:
    return "; ".join(f"{attribute.name}: {', '.join(attribute.names)}" for attribute in attributes)


def _values(attributes: Sequence[Attribute]) -> Tensor:
    return torch.stack([attribute.values for attribute in attributes], 1)


def _judge(context: SampleContext, train: ImageSet, test: ImageSet, place: int) -> ClassifierExtractor:
    name = train.attributes[place].name
    return context.once(
        f"classifier of {name}", lambda: trained_once(context, _labelled(train, place), _labelled(test, place))
    )


def _labelled(images: ImageSet, place: int) -> ImageSet:
    """The images whose caption states an attribute, with its values as labels."""
    _, names, values = images.attributes[place]
    stated = values >= 0
    return ImageSet(images.images[stated], values[stated], names)
