"""The embedded captions of a run's training images."""

from __future__ import annotations

from genprior.data.text import EmbeddedCaptions
from genprior.parts import Embedder, ImageSet
from genprior.runs.folder import RunFolder

__all__ = ["embedded_captions"]


def embedded_captions(embedder: Embedder | None, files: RunFolder, images: ImageSet) -> EmbeddedCaptions | None:
    """The embedded captions of the training images; None without an embedder.

    Args:
        embedder: the embedder, which is restored from the run folder, or else fitted to the captions.
        files: the run folder.
        images: the training images with their captions.

    Raises:
        RunError: the embedder's file is damaged, or the run was trained with another embedder.
    """
    if embedder is None:
        return None
    kept = files.embedder()
    if kept is None:
        embedder.fit([text for some in images.captions for text in some])
        files.check_embedder(embedder.state())
    else:
        embedder.restore(kept)
    return EmbeddedCaptions.of(images, embedder)
