"""The fitted embedder of a run, `embedder.safetensors`: its tensors, and its texts as metadata."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file

from genprior.errors import RunError, in_a_sentence
from genprior.parts import EmbedderState
from genprior.storage.cache import content_hash
from genprior.storage.files import to_file, whole_file
from genprior.storage.tensors import opened_tensors

__all__ = ["embedder_hash", "read_embedder", "refuse_other", "write_embedder"]


def embedder_hash(state: EmbedderState) -> str:
    """A hash of a fitted embedder, which run.json keeps: a run reads text only with that embedder."""
    texts = [text for item in sorted(state.notes.items()) for text in item]
    return content_hash(state.tensors, *texts)


def refuse_other(state: EmbedderState, kept: str | None, run: Path) -> None:
    """Refuse another embedder than that of the hash `kept` of the run in folder `run`, if it recorded one.

    Raises:
        RunError: it is another one.
    """
    found = embedder_hash(state)
    if kept is not None and kept != found:
        raise RunError(
            f"the run {run} was trained with another embedder: its hash is {kept}, and that of embedder.safetensors, "
            f"or of the training captions, is {found}. Restore the file or the captions"
        )


def read_embedder(path: Path) -> EmbedderState | None:
    """The state that `write_embedder` wrote; None if the file does not exist.

    Raises:
        RunError: it is damaged.
        OSError: the system cannot read it.
    """
    try:
        with to_file("read", path), opened_tensors(path) as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
            return EmbedderState(tensors, file.metadata() or {})
    except FileNotFoundError:
        return None
    except SafetensorError as error:
        raise RunError(
            f"{path} is damaged: {in_a_sentence(error)}. Delete it and give the training command of the run again, "
            "which fits the embedder to the training captions anew"
        ) from error


def write_embedder(path: Path, state: EmbedderState) -> None:
    """Write the state of a fitted embedder, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.tensors.items()}
    with whole_file(path) as partial:
        try:
            save_file(tensors, partial, metadata=state.notes or None)
        except SafetensorError as error:
            raise OSError(str(error)) from error
