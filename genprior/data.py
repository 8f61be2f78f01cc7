"""Data sets as uint8 tensors: the cache on disk, the checks, the sizes, and batches by seed.

A decoded split is an `ImageSet`: images uint8 [n, c, h, w] and labels int64 [n]. It is kept in the cache folder as
`<name>-<split>.safetensors` (tensors `images` and `labels`; the class names are a JSON list in the metadata key
`classes`), and trained on as one tensor on the device, whose batches are a function of (seed, step) alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Literal

import platformdirs
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import interpolate, pad

from genprior.errors import DataError
from genprior.parts import Batch, ImageSet

__all__ = [
    "DeviceData",
    "cache_file",
    "cache_folder",
    "fit",
    "images_to_float",
    "read_cache",
    "to_uint8",
    "validate",
    "write_cache",
]

# A tensor, not a Python number, so that uint8 is promoted to float32 whatever torch's default dtype is.
_HALF = torch.tensor(127.5, dtype=torch.float32)
_RESIZE_CHUNK = 1024


# ---------------------------------------------------------------------------------------------------------------------
# Bytes and numbers
# ---------------------------------------------------------------------------------------------------------------------


def images_to_float(images: Tensor) -> Tensor:
    """Bring bytes to what networks see: (x - 127.5) / 127.5.

    Args:
        images: uint8, any shape.

    Returns:
        float32 of the same shape and memory layout, in [-1, 1]; 0 and 255 become exactly -1 and 1.
    """
    return torch.sub(images, _HALF).div_(127.5)


def to_uint8(images: Tensor) -> Tensor:
    """Bring what networks make to bytes: 127.5 (x + 1), rounded to the nearest and clamped to 0..255.

    The inverse of `images_to_float`, exactly, for all 256 values.

    Args:
        images: floating point, any shape, meant to lie in [-1, 1].

    Returns:
        uint8 of the same shape.
    """
    wide = images.detach().to(torch.promote_types(images.dtype, torch.float32))
    return wide.add(1.0).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)


# ---------------------------------------------------------------------------------------------------------------------
# Checks and sizes
# ---------------------------------------------------------------------------------------------------------------------


def validate(image_set: ImageSet, name: str) -> ImageSet:
    """Return `image_set` if it is one that can be trained on.

    Args:
        image_set: what to check.
        name: the data set or file, for the message.

    Returns:
        The same image set.

    Raises:
        DataError: it is empty, has images that are not uint8 [n, c, h, w] with c of 1 or 3, or labels that are not
            int64 [n] in 0 .. number of classes - 1 (all 0 without class names).
    """
    images, labels, classes = image_set
    if images.dtype != torch.uint8:
        raise DataError(f"{name}: images are {_dtype(images)}; uint8 values 0..255 are needed")
    if images.ndim != 4:
        raise DataError(f"{name}: images have shape {list(images.shape)}; [n, channels, height, width] is needed")
    if 0 in images.shape:
        raise DataError(f"{name}: there are no images in it (shape {list(images.shape)}); at least one is needed")
    if images.shape[1] not in (1, 3):
        raise DataError(
            f"{name}: images have {images.shape[1]} channels (shape {list(images.shape)}); "
            "1 (grey) or 3 (RGB) are possible"
        )
    if labels.dtype != torch.int64:
        raise DataError(f"{name}: labels are {_dtype(labels)}; int64 is needed")
    if labels.shape != images.shape[:1]:
        raise DataError(
            f"{name}: labels have shape {list(labels.shape)} for {len(images)} images; one label an image is needed"
        )
    low, high = (int(v) for v in labels.aminmax())
    if low < 0 or high >= max(len(classes), 1):
        allowed = f"0..{len(classes) - 1} ({len(classes)} classes)" if classes else "0 (no class names are given)"
        raise DataError(f"{name}: labels run from {low} to {high}; {allowed} is possible")
    return image_set


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def fit(images: Tensor, size: int | None, how: Literal["pad", "resize"]) -> Tensor:
    """Bring images to size x size.

    Args:
        images: uint8 [n, c, h, w].
        size: the new height and width in pixels; None leaves the images as they are.
        how: `pad` puts zeros (black) around the image, the odd pixel right and below; `resize` scales the shorter side
            to `size` (bilinear, antialiased, half-pixel centres) and cuts out the middle.

    Returns:
        uint8 [n, c, size, size].

    Raises:
        DataError: `pad` to a size smaller than the images.
    """
    height, width = images.shape[-2:]
    if size is None or (height, width) == (size, size):
        return images
    if how == "pad":
        if size < max(height, width):
            raise DataError(
                f"images of {height}x{width} cannot be padded to size = {size}; "
                f'choose size >= {max(height, width)}, or how = "resize"'
            )
        left, top = (size - width) // 2, (size - height) // 2
        return pad(images, (left, size - width - left, top, size - height - top))
    scale = size / min(height, width)
    new = max(size, round(height * scale)), max(size, round(width * scale))
    top, left = (new[0] - size) // 2, (new[1] - size) // 2
    out = images.new_empty((*images.shape[:2], size, size))
    # In chunks, because the floats of a large set would be four times its bytes.
    for start in range(0, len(images), _RESIZE_CHUNK):
        chunk = images[start : start + _RESIZE_CHUNK].to(torch.float32)
        scaled = interpolate(chunk, new, mode="bilinear", antialias=True, align_corners=False)
        cut = scaled[..., top : top + size, left : left + size]
        out[start : start + _RESIZE_CHUNK] = cut.round().clamp(0, 255).to(torch.uint8)
    return out


# ---------------------------------------------------------------------------------------------------------------------
# The cache
# ---------------------------------------------------------------------------------------------------------------------


def cache_folder() -> Path:
    """Where decoded data sets are kept: `$GENPRIOR_DATA`, else the user's cache folder (`~/.cache/genprior/data`)."""
    own = os.environ.get("GENPRIOR_DATA")
    return Path(own).expanduser() if own else platformdirs.user_cache_path("genprior", appauthor=False) / "data"


def cache_file(name: str, split: str) -> Path:
    """The file that holds a split: `<cache folder>/<name>-<split>.safetensors`, whether or not it exists."""
    return cache_folder() / f"{name}-{split}.safetensors"


def read_cache(name: str, split: str) -> ImageSet | None:
    """Read a decoded split from the cache.

    Args:
        name: the data set's name in the cache.
        split: for example `train`.

    Returns:
        The split, or None where the cache has no such file.

    Raises:
        DataError: the file cannot be opened, is truncated or corrupt, or holds something else than an image set.
    """
    path = cache_file(name, split)
    cure = "delete it, and it will be downloaded or made again when it is next needed"
    try:
        with safe_open(path, framework="pt") as file:
            missing = {"images", "labels"} - set(file.keys())
            if missing:
                raise DataError(f"{path}: it has no tensor {' and no '.join(sorted(missing))}; {cure}")
            images, labels = file.get_tensor("images"), file.get_tensor("labels")
            classes = json.loads((file.metadata() or {}).get("classes", "[]"))
    except FileNotFoundError:
        return None
    except SafetensorError as problem:
        raise DataError(f"{path}: it is truncated or no safetensors file ({problem}); {cure}") from problem
    except json.JSONDecodeError as problem:
        raise DataError(f"{path}: its metadata 'classes' is no JSON list ({problem}); {cure}") from problem
    except OSError as problem:
        raise DataError(f"{path}: it cannot be read ({problem}); check the file's permissions") from problem
    if not isinstance(classes, list) or not all(isinstance(one, str) for one in classes):
        raise DataError(f"{path}: its metadata 'classes' is no JSON list of names; {cure}")
    try:
        return validate(ImageSet(images, labels, tuple(classes)), str(path))
    except DataError as problem:
        raise DataError(f"{problem}; {cure}") from problem


def write_cache(name: str, split: str, image_set: ImageSet) -> Path:
    """Keep a decoded split in the cache: the file is written whole or not at all.

    Args:
        name: the data set's name in the cache.
        split: for example `train`.
        image_set: what to keep.

    Returns:
        The file.

    Raises:
        DataError: `image_set` is not valid, or the file cannot be written (a full disk, no permission).
    """
    validate(image_set, name)
    path = cache_file(name, split)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    tensors = {"images": image_set.images.contiguous(), "labels": image_set.labels.contiguous()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # safetensors makes files that only their owner may read; a cache may be shared, so the umask decides.
        partial.touch(exist_ok=False)
        mode = partial.stat().st_mode
        save_file(tensors, partial, {"classes": json.dumps(list(image_set.classes))})
        partial.chmod(mode)
        _sync(partial)
        partial.replace(path)
        _sync(path.parent)
    except (OSError, SafetensorError) as problem:
        raise DataError(
            f"{path}: it cannot be written ({problem}); "
            "free some space or give yourself permission there, or point GENPRIOR_DATA at another folder"
        ) from problem
    finally:
        with suppress(OSError):
            partial.unlink()
    return path


def _sync(path: Path) -> None:
    """Have what is at `path` reach the disk; a folder cannot be opened for that on Windows."""
    if path.is_dir() and os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# ---------------------------------------------------------------------------------------------------------------------
# Batches
# ---------------------------------------------------------------------------------------------------------------------


def _generator(*key: int | str) -> torch.Generator:
    """A generator of its own for `key`, on the host: the same numbers whatever the device."""
    digest = hashlib.sha256(repr(key).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


def _fits(size: int, device: torch.device) -> bool:
    """Whether `size` bytes leave at least half of the device's free memory to the networks."""
    return device.type != "cuda" or 2 * size <= torch.cuda.mem_get_info(device)[0]


class DeviceData:
    """A data set where it is trained, whose batches are a function of (seed, step) alone.

    Epoch e visits the images in a permutation drawn under (seed, e) on the host, so it is the same on every device and
    a resumed run needs no state; the last, partial batch of an epoch is dropped. Gathering, flips and scaling run on
    the device, batched, and wait for nothing. A set that would take more than half of the free CUDA memory stays on the
    host; its batches are gathered into pinned memory and copied without blocking.
    """

    def __init__(
        self,
        image_set: ImageSet,
        device: torch.device | str,
        *,
        batch: int,
        seed: int,
        flip: bool = False,
        channels_last: bool = False,
        rank: int = 0,
        world: int = 1,
        resident: bool | None = None,
    ) -> None:
        """Move the images to the device.

        Args:
            image_set: the split to train on.
            device: where batches are needed.
            batch: images a step, of all ranks together.
            seed: the run's seed.
            flip: mirror each image left to right with probability 1/2, drawn under (seed, step).
            channels_last: give batches in the channels-last memory format.
            rank: which slice of each batch is given here.
            world: how many ranks share a batch.
            resident: whether the set lies on the device; None decides by its free memory.

        Raises:
            DataError: the set is not valid, the batch is larger than it, or the ranks cannot share the batch equally.
        """
        validate(image_set, "data set")
        if not 1 <= batch <= len(image_set.images):
            raise DataError(
                f"batch = {batch}, but the data set has {len(image_set.images)} images; "
                f"a batch of 1 to {len(image_set.images)} is possible"
            )
        if world < 1 or not 0 <= rank < world or batch % world:
            raise DataError(
                f"a batch of {batch} images cannot be shared equally by {world} ranks (this is rank {rank}); "
                "choose a batch that is a multiple of the number of ranks"
            )
        self.info = image_set.info
        self.device = torch.device(device)
        self.batch_size = batch
        self.seed = seed
        self.flip = flip
        self.channels_last = channels_last
        self._pinned = self.device.type == "cuda"
        share = batch // world
        self._mine = slice(rank * share, (rank + 1) * share)
        self._dim = 2 if channels_last else 3
        images = image_set.images.permute(0, 2, 3, 1) if channels_last else image_set.images
        self.resident = _fits(images.numel(), self.device) if resident is None else resident
        home = self.device if self.resident else torch.device("cpu")
        self._images = images.to(home).contiguous()
        self._labels = image_set.labels.to(home)
        self._epoch = -1
        self._order = torch.empty(0, dtype=torch.int64)

    def __len__(self) -> int:
        """How many images there are."""
        return len(self._images)

    @property
    def batches_per_epoch(self) -> int:
        """How many whole batches an epoch has."""
        return len(self) // self.batch_size

    def batch(self, step: int) -> Batch:
        """The batch of a step, or this rank's slice of it.

        Args:
            step: counted from 0 over the whole run.

        Returns:
            x float32 [n, c, h, w] in [-1, 1] and y int64 [n] on the device, n being batch / world.
        """
        images, labels = self._gather(self._indices(step))
        if self.flip:
            drawn = torch.rand(self.batch_size, generator=_generator(self.seed, "flip", step))[self._mine]
            mirrored = self._send(drawn < 0.5)[:, None, None, None]
            images = torch.where(mirrored, images.flip(self._dim), images)
        # Stored as [n, h, w, c], a batch is in the channels-last format once it is looked at as [n, c, h, w].
        x = images_to_float(images.permute(0, 3, 1, 2) if self.channels_last else images)
        return Batch(x, labels)

    def _indices(self, step: int) -> Tensor:
        """Which images this rank gets in `step`: [n], where the images are."""
        epoch, place = divmod(step, self.batches_per_epoch)
        if epoch != self._epoch:
            order = torch.randperm(len(self), generator=_generator(self.seed, "order", epoch))
            self._order, self._epoch = (self._send(order) if self.resident else order), epoch
        return self._order[place * self.batch_size : (place + 1) * self.batch_size][self._mine]

    def _gather(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """The chosen images and labels, on the device."""
        if self.resident:
            return self._images.index_select(0, chosen), self._labels.index_select(0, chosen)
        # A fresh pinned buffer each time: the allocator reuses one only after the copy out of it is done.
        images = torch.empty((len(chosen), *self._images.shape[1:]), dtype=torch.uint8, pin_memory=self._pinned)
        torch.index_select(self._images, 0, chosen, out=images)
        return images.to(self.device, non_blocking=True), self._send(self._labels.index_select(0, chosen))

    def _send(self, tensor: Tensor) -> Tensor:
        """Copy a tensor of the host to the device without waiting for it."""
        return (tensor.pin_memory() if self._pinned else tensor).to(self.device, non_blocking=True)
