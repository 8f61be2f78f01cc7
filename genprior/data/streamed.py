"""Sets larger than memory: tensors of images that are decoded when they are used, and batches that are read ahead."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genprior.data.room import check_room
from genprior.errors import DataError

__all__ = ["ImageSource", "ReadAhead", "StreamedImages"]

_PIECE = 16
"""Images that a thread decodes at once where all threads share the images of one call."""
_COMPARED = 256
"""Images that are compared at once."""
_READ_ONLY = "streamed images cannot be written to; write to their clone()"


@dataclass(frozen=True, eq=False)
class ImageSource:
    """Where streamed images come from."""

    called: str
    """The data set, for messages."""
    image: tuple[int, int, int]
    """(c, h, w), the same for all images."""
    read: Callable[[int], np.ndarray]
    """Decodes the image of a number: uint8 [h, w, c]. It is called by several threads at once, and raises a `DataError`
    that names the file of an image that cannot be read."""
    workers: int
    """How many threads decode; with 0, the thread that uses the images does."""

    def decode(self, places: Tensor, out: Tensor | None = None) -> Tensor:
        """The images of these numbers int64 [n], decoded by the calling thread: uint8 [n, h, w, c], in `out` if given.

        Raises:
            DataError: an image cannot be read, or is of another size.
        """
        c, h, w = self.image
        rows = torch.empty((len(places), h, w, c), dtype=torch.uint8) if out is None else out
        array = rows.numpy()
        for row, place in enumerate(places.tolist()):
            pixels = self.read(place)
            if pixels.shape != (h, w, c) or pixels.dtype != np.uint8:
                raise DataError(
                    f"{self.called}: image {place} was decoded as {pixels.dtype} {list(pixels.shape)}; uint8 "
                    f"{[h, w, c]} is needed"
                )
            array[row] = pixels
        return rows

    def decode_together(self, places: Tensor) -> Tensor:
        """The images of these numbers int64 [n], decoded by all threads: uint8 [n, h, w, c].

        Raises:
            DataError: an image cannot be read, or is of another size.
        """
        if self.workers == 0 or len(places) <= 1:
            return self.decode(places)
        c, h, w = self.image
        rows = torch.empty((len(places), h, w, c), dtype=torch.uint8)
        size = min(_PIECE, math.ceil(len(places) / self.workers))
        # `map` raises the first error in the order of the images, and cancels what has not begun.
        list(self.pool.map(self.decode, torch.split(places, size), torch.split(rows, size)))
        return rows

    @property
    def pool(self) -> ThreadPoolExecutor:
        """The threads that decode."""
        return _pool(os.getpid(), self.workers)


@functools.cache
def _pool(process: int, workers: int) -> ThreadPoolExecutor:
    """The threads of a process; a forked one has none of its parent's, and so makes its own."""
    return ThreadPoolExecutor(workers, thread_name_prefix="genprior-images")


class StreamedImages(Tensor):
    """Images uint8 [n, c, h, w] on the host that are decoded when they are used, and are not kept.

    A slice along n, an index, `split` and `index_select` choose images and decode none. Any other operation decodes the
    images that it is given, each time, and returns an ordinary tensor; more of them than half of the memory holds are
    refused. So code that takes images in batches, as scores do, needs no more memory than a batch. Streamed images
    cannot be written to; a `clone()` can.
    """

    source: ImageSource
    places: Tensor
    """The numbers of the images in the source, int64 [n]."""

    @staticmethod
    def __new__(cls: type[StreamedImages], source: ImageSource, places: Tensor) -> StreamedImages:
        """Images `places` int64 [n] of a source."""
        shape = (len(places), *source.image)
        images: StreamedImages = Tensor._make_wrapper_subclass(cls, shape, dtype=torch.uint8)
        images.source, images.places = source, places
        return images

    @classmethod
    def all_of(cls, source: ImageSource, n: int) -> StreamedImages:
        """All n images of a source."""
        return cls(source, torch.arange(n))

    def decoded(self) -> Tensor:
        """The images as an ordinary tensor.

        Raises:
            DataError: an image cannot be read, or they take more than half of the memory.
        """
        check_room(self.numel(), f"{self.source.called}: decoding {len(self):,} streamed images at once")
        return self.source.decode_together(self.places).permute(0, 3, 1, 2).contiguous()

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Choose images without decoding them, or decode them for an operation that computes with their pixels."""
        kwargs = kwargs or {}
        choose = _WITHOUT_PIXELS.get(func)
        if choose is not None and isinstance(args[0], StreamedImages):
            answer = choose(*args, **kwargs)
            if answer is not NotImplemented:
                return answer
        if func._schema.is_mutable:
            raise DataError(_READ_ONLY)
        return func(*_decoded(args), **{name: _decoded(value) for name, value in kwargs.items()})

    def __iter__(self) -> Iterator[Tensor]:
        """The images one after another, [c, h, w]."""
        return (self[place] for place in range(len(self)))

    def __setitem__(self, place: Any, value: Any) -> None:
        """Refused; torch would write to an image that it has decoded.

        Raises:
            DataError: always.
        """
        raise DataError(_READ_ONLY)

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        """Their number and form; no pixels are decoded."""
        return f"StreamedImages({list(self.shape)} of {self.source.called})"

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """The images as a NumPy array."""
        return np.asarray(self.decoded().numpy(), dtype=dtype)

    def numpy(self, *, force: bool = False) -> np.ndarray:
        """The images as a NumPy array."""
        return self.decoded().numpy()

    def tolist(self) -> list[Any]:
        """The images as nested lists."""
        return self.decoded().tolist()

    def __deepcopy__(self, memo: Any) -> StreamedImages:
        """The same images, which cannot be changed."""
        return self

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickled as an ordinary tensor, because files are where they are on this machine alone."""
        return self.decoded().__reduce_ex__(protocol)  # type: ignore[no-untyped-call]


def _decoded(value: Any) -> Any:
    if isinstance(value, StreamedImages):
        return value.decoded()
    return [_decoded(each) for each in value] if isinstance(value, list | tuple) else value


# ---------------------------------------------------------------------------------------------------------------------
# Operations that need no pixels; NotImplemented where the arguments are of another kind
# ---------------------------------------------------------------------------------------------------------------------


def _part(images: StreamedImages, places: Tensor) -> StreamedImages:
    return StreamedImages(images.source, places)


def _same(images: StreamedImages, *_: Any) -> Any:
    return _part(images, images.places)


def _slice(images: StreamedImages, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Any:
    return _part(images, images.places[start:end:step]) if dim == 0 else NotImplemented


def _split(images: StreamedImages, size: int, dim: int = 0) -> Any:
    return [_part(images, some) for some in torch.split(images.places, size)] if dim == 0 else NotImplemented


def _select(images: StreamedImages, dim: int, index: int) -> Any:
    return _part(images, images.places[index].view(1)).decoded()[0] if dim == 0 else NotImplemented


def _index_select(images: StreamedImages, dim: int, index: Tensor) -> Any:
    return _part(images, images.places.index_select(0, index.cpu())) if dim == 0 else NotImplemented


def _index(images: StreamedImages, indices: list[Tensor | None]) -> Any:
    if len(indices) != 1 or indices[0] is None or indices[0].ndim != 1:
        return NotImplemented
    return _part(images, images.places[indices[0].cpu()])


def _equal(images: StreamedImages, other: Tensor) -> Any:
    if images.shape != other.shape:
        return False
    if isinstance(other, StreamedImages) and other.source is images.source and torch.equal(other.places, images.places):
        return True
    pieces = zip(torch.split(images, _COMPARED), torch.split(other, _COMPARED), strict=True)
    return all(torch.equal(*(each.clone() for each in pair)) for pair in pieces)


_aten = torch.ops.aten
_WITHOUT_PIXELS: Mapping[Any, Callable[..., Any]] = {
    _aten.detach.default: _same,
    _aten.alias.default: _same,
    _aten.slice.Tensor: _slice,
    _aten.split.Tensor: _split,
    _aten.select.int: _select,
    _aten.index_select.default: _index_select,
    _aten.index.Tensor: _index,
    _aten.equal.default: _equal,
}


# ---------------------------------------------------------------------------------------------------------------------
# Batches
# ---------------------------------------------------------------------------------------------------------------------


class ReadAhead:
    """Batches of streamed images, of which each thread decodes one before it is needed.

    Which images a batch has is a function of its step, so any number of threads gives the same batches, and a resumed
    run begins at any step.
    """

    def __init__(self, images: StreamedImages, *, pinned: bool) -> None:
        """Read nothing yet.

        Args:
            images: those that batches are chosen from.
            pinned: whether batches are in memory from which a GPU copies without blocking.
        """
        self._images = images
        self._pinned = pinned
        self._ahead = 2 * images.source.workers
        self._pending: dict[tuple[str, int], Future[Tensor]] = {}

    def read(self, chosen: Tensor) -> Tensor:
        """The chosen images, int64 [n], which were not read ahead: uint8 [n, h, w, c].

        Raises:
            DataError: an image cannot be read.
        """
        source = self._images.source
        rows = source.decode_together(self._images.places.index_select(0, chosen))
        return rows.pin_memory() if self._pinned else rows

    def batch(self, stream: str, step: int, chosen: Callable[[int], Tensor]) -> Tensor:
        """The images of a step, uint8 [n, h, w, c]; the threads then decode those of the next steps.

        Args:
            stream: the name of the sequence of batches.
            step: the step.
            chosen: the images of each step, int64 [n].

        Raises:
            DataError: an image cannot be read.
        """
        due = self._pending.pop((stream, step), None)
        for of, later in list(self._pending):
            if of == stream and not step < later <= step + self._ahead:  # after a jump to another step
                self._pending.pop((of, later)).cancel()
        rows = self.read(chosen(step)) if due is None else due.result()
        for later in range(step + 1, step + 1 + self._ahead):
            if (stream, later) not in self._pending:
                self._pending[stream, later] = self._submitted(chosen(later))
        return rows

    def _submitted(self, chosen: Tensor) -> Future[Tensor]:
        source = self._images.source
        c, h, w = source.image
        # Allocated here: memory is pinned for the device of the thread that trains.
        rows = torch.empty((len(chosen), h, w, c), dtype=torch.uint8, pin_memory=self._pinned)
        return source.pool.submit(source.decode, self._images.places.index_select(0, chosen), rows)
