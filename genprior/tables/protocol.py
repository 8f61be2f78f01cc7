"""How a number was measured: what a published number states of it, and how the facts of a row differ from that."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, model_validator
from torch import Tensor

from genprior.parts import SettingsTable
from genprior.recipe.plan import Plan

__all__ = ["ORDINARY", "Protocol", "facts_of", "facts_of_images"]

ORDINARY: Mapping[str, Any] = {
    "framing": "original", "binarise": "none", "split": "test", "labels": "all", "augmented": False,
}  # fmt: skip
"""Facts that are not worth a word where a publication does not state them."""

_Count = Annotated[int, Field(ge=1, strict=True)]
_Counts = _Count | Annotated[tuple[_Count, ...], Field(min_length=1)]


class Protocol(SettingsTable):
    """The protocol of a published number. A field that its source does not state is left out, and is then unknown.

    A list of numbers means that the source leaves open which of them it is.
    """

    size: _Count | tuple[_Count, _Count] | None = None
    """Height and width of the images in pixels; one number for both."""
    framing: Literal["original", "padded", "resized", "cropped"] | None = None
    """How images got that size: as they are in the data set, with a margin, scaled, or cut."""
    binarise: Literal["none", "static", "dynamic"] | None = None
    """Grey pixels, black and white ones drawn once, or ones drawn anew in each training batch."""
    split: Literal["train", "validation", "test"] | None = None
    """The real images that are scored."""
    test_images: _Counts | None = None
    """How many of them."""
    training_images: _Counts | None = None
    """How many images train the model, with or without labels."""
    labels: _Counts | Literal["all"] | None = None
    """How many training images keep their label."""
    augmented: bool | None = Field(None, strict=True)
    """Whether training images are shifted, turned or scaled."""
    samples: _Counts | None = None
    """How many generated images are scored."""
    splits: _Counts | None = None
    """Into how many parts they are split."""
    importance_samples: _Counts | None = None
    """Importance samples of each test image."""
    reference: Literal["train", "validation", "test", "all"] | None = None
    """The real images that generated ones are compared with."""
    reference_images: _Counts | None = None
    """How many of them."""
    named_by: Literal["train", "validation", "test"] | None = None
    """The images whose labels name clusters."""
    rule: str | None = None
    """How they name them, as the score says it in its facts."""
    score: dict[str, Any] = Field(default_factory=dict)
    """Further facts of the score that must agree, by the names of its settings."""
    model: dict[str, Any] = Field(default_factory=dict)
    """Settings of the row's model that must agree, where the row's label does not decide alone."""
    over: Literal["splits of the score", "test images", "label draws", "seeds"] | None = None
    """What the published spread is over."""
    assumed: tuple[str, ...] = ()
    """Stated fields that are not in the source, but follow from the definition of the score or from common practice."""

    @model_validator(mode="after")
    def _assumed_are_stated(self) -> Protocol:
        stated = self.stated()
        if unknown := [name for name in self.assumed if name not in stated]:
            raise ValueError(
                f"assumed names {', '.join(unknown)}, which the protocol does not state; stated are "
                f"{', '.join(stated) or 'none'}"
            )
        return self

    def stated(self) -> dict[str, Any]:
        """The fields to compare that are stated."""
        table = {name: getattr(self, name) for name in type(self).model_fields if name not in ("over", "assumed")}
        return {name: value for name, value in table.items() if value not in (None, {})}

    def differences(self, facts: Mapping[str, Any]) -> tuple[str, ...]:
        """In which stated fields the facts of a measured number differ, as in `10 importance samples, published 5,000`.

        A fact that is not known is no difference, see `unknown`.
        """
        stated, found = self.stated(), list[str]()
        for name, value in stated.items():
            if name == "size":
                found += _size_difference(self, facts) if name in facts else ()
            elif name == "model":
                found += _model_differences(value, facts["model"]) if name in facts else ()
            elif name == "score":
                found += [
                    f"{key.replace('_', ' ')} {_setting(facts[key])}, published {_setting(wanted)}"
                    for key, wanted in value.items()
                    if key in facts and facts[key] != wanted
                ]
            elif name == "framing" and "size" in stated and "size" in facts:
                continue  # told with the size
            elif name in facts and not _agrees(facts[name], value):
                found.append(_WORDS[name].difference(facts[name], value))
        return tuple(found)

    def unstated(self, facts: Mapping[str, Any]) -> tuple[str, ...]:
        """The facts of a measured number that this does not state, by their names in words."""
        stated = self.stated()
        return tuple(
            words.name
            for name, words in _WORDS.items()
            if name not in stated and name in facts and facts[name] != ORDINARY.get(name)
        )

    def unknown(self, facts: Mapping[str, Any]) -> tuple[str, ...]:
        """The stated fields of which no fact is known, by their names in words."""
        names = [name for name in self.stated() if name not in (*facts, "score")]
        missing = [name for name in self.score if name not in facts]
        return (*(_WORDS[name].name if name in _WORDS else name for name in names), *missing)


def facts_of(plan: Plan | None) -> dict[str, Any]:
    """What is known of a row before it is scored, by the names of the fields of a protocol; nothing without a plan."""
    if plan is None:
        return {}
    facts = dict(plan.data.make().facts)
    images = facts.get("images_of_splits", {}).get("train")
    if images is not None:
        facts["training_images"] = images
    labels = plan.run.labels
    if not isinstance(labels, float):
        facts["labels"] = "all" if labels is None else labels
    elif images is not None:
        facts["labels"] = round(labels * images)
    facts["augmented"] = any(plan.run.augmentation.values())
    facts["model"] = plan.model.model_dump(mode="json")
    return facts


def facts_of_images(images: Tensor, data: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of images [n, c, h, w] of another tool, which are compared with a data set of these facts.

    Their size is their own; how they got it, and what trained the model, is not known.
    """
    return {name: data[name] for name in ("binarise", "images_of_splits", "split") if name in data} | {
        "size": (int(images.shape[-2]), int(images.shape[-1]))
    }


class _Words(NamedTuple):
    """How a fact is told."""

    name: str
    """Its name."""
    text: Callable[[Any], str]
    """A value of it."""
    short: Callable[[Any], str]
    """A value of it beside another one."""

    def difference(self, ours: Any, published: Any) -> str:
        either = published if isinstance(published, tuple) else (published,)
        return f"{self.text(ours)}, published {' or '.join(map(self.short, either))}"


def _number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _counted(noun: str) -> _Words:
    def text(value: Any) -> str:
        return f"{_number(value)} {noun.removesuffix('s') if value == 1 else noun}"

    return _Words(noun, text, _number)


def _chosen(name: str, form: str) -> _Words:
    return _Words(name, lambda value: form.format(value), str)


_BINARISED = {"none": "grey pixels", "static": "binarised once", "dynamic": "binarised anew in each batch"}
_WORDS = {
    "size": _Words("image size", str, str),
    "framing": _Words("padding or scaling", str, str),
    "binarise": _Words("binarisation", lambda value: _BINARISED.get(value, str(value)), lambda v: _BINARISED.get(v, v)),
    "split": _chosen("scored split", "measured on {} images"),
    "test_images": _counted("test images"),
    "training_images": _counted("training images"),
    "labels": _counted("labels"),
    "augmented": _Words(
        "augmentation", lambda value: f"training images {_augmentation(value)}", lambda value: _augmentation(value)
    ),
    "samples": _counted("samples"),
    "splits": _counted("splits"),
    "importance_samples": _counted("importance samples"),
    "reference": _chosen("reference", "against {} images"),
    "reference_images": _counted("reference images"),
    "named_by": _chosen("labels that name clusters", "clusters named by {} labels"),
    "rule": _chosen("rule that names clusters", "clusters named by {}"),
}  # fmt: skip


def _augmentation(value: bool) -> str:
    return "shifted, turned or scaled" if value else "as they are"


def _agrees(ours: Any, published: Any) -> bool:
    return ours in published if isinstance(published, tuple) else bool(ours == published)


def _pair(size: Any) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else tuple(size)


def _size_difference(protocol: Protocol, facts: Mapping[str, Any]) -> Iterator[str]:
    """The difference in size and framing, told together: `32 x 32 padded, published 28 x 28`."""
    ours, published = _pair(facts["size"]), _pair(protocol.size)
    framing, wanted = facts.get("framing"), protocol.framing
    framed = framing is not None and wanted is not None and framing != wanted
    if ours != published or framed:
        plain = () if ours == published else (ORDINARY["framing"],)
        yield f"{_framed(ours, framing, plain)}, published {_framed(published, wanted, plain)}"


def _framed(size: tuple[int, int], framing: str | None, plain: Sequence[str]) -> str:
    told = "" if framing is None or framing in plain else f" {framing}"
    return f"{size[0]} x {size[1]}{told}"


def _model_differences(published: Mapping[str, Any], ours: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """The settings that differ, by their path in words; of another part than the published one only its name."""
    if "name" in published and ours.get("name") != published["name"]:
        yield f"{path.strip() or 'model'} {_setting(ours.get('name'))}, published {published['name']}"
        return
    for name, value in published.items():
        own, setting = ours.get(name), f"{path}{name.replace('_', ' ')}"
        if isinstance(value, Mapping) and isinstance(own, Mapping):
            yield from _model_differences(value, own, f"{setting} ")
        elif own != value:
            yield f"{setting} {_setting(own)}, published {_setting(value)}"


def _setting(value: Any) -> str:
    if isinstance(value, Mapping):
        return str(value.get("name", dict(value)))
    return "absent" if value is None else _number(value)
