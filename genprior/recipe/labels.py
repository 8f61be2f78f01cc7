"""The labels of rows that `--rows` names, where a label may itself have commas."""

from __future__ import annotations

from collections.abc import Collection, Iterable

__all__ = ["named_labels"]


def named_labels(texts: Iterable[str], labels: Collection[str]) -> list[str]:
    """The labels that texts name: each is a label, or labels with commas between, the longest that there are.

    Args:
        texts: for example `["AAE, learned (A),AAE"]`, of a recipe that has these two labels.
        labels: the labels that there are.

    Returns:
        The labels in order, which may repeat; a piece between commas that begins none of `labels` is one of its own.
    """
    chosen: list[str] = []
    for text in texts:
        pieces = text.split(",")
        while pieces:
            ends = range(len(pieces), 0, -1)
            named = ((n, label) for n in ends for label in _either(",".join(pieces[:n])) if label in labels)
            count, label = next(named, (1, pieces[0].strip()))
            chosen += [label] if label else []
            del pieces[:count]
    return chosen


def _either(text: str) -> tuple[str, str]:
    return text, text.strip()
