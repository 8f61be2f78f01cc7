"""The Inception network of published scores, as torch-fidelity ships it."""

from __future__ import annotations

import io
import pickle
import warnings
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genprior import Features, SampleContext, ScoreError, content_hash, downloading
from genprior_std.scores.inception_network import FoldedInception

__all__ = ["InceptionExtractor", "check_channels", "describe_network", "inception"]


class InceptionExtractor:
    """torch-fidelity's `inception-v3-compat`: the TensorFlow graph of 2015-12-05 with its own resizing to 299 x 299.

    Features are the 2048 of pool3; logits are `logits_unbiased` (pool3 times W, without the bias), 1008 classes.
    Grey images are repeated to three channels. `FoldedInception` says how it is computed.

    References:
        Salimans et al., Improved Techniques for Training GANs, 2016, https://arxiv.org/abs/1606.03498
        Heusel et al., GANs Trained by a Two Time-Scale Update Rule, 2017, https://arxiv.org/abs/1706.08500
    """

    title = "Inception"
    keep = True

    def __init__(self, weights: Path | None, device: torch.device) -> None:
        """Read the weights, or download them.

        Args:
            weights: a local file, from which only tensors are read, so that it cannot run code; downloaded if None.
            device: where it runs.

        Raises:
            ScoreError: the weights cannot be downloaded or read.
        """
        from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3, FeatureExtractorInceptionV3

        # The clone of the graph is fixed; float32 throughout, because reduced precision changes the features.
        if weights is not None and not weights.is_file():
            raise ScoreError(f"there is no file of Inception weights at '{weights}'; {_advice()}")
        try:
            kept = Path(torch.hub.get_dir(), "checkpoints", Path(URL_INCEPTION_V3).name)
            here = weights is not None or kept.exists()
            with nullcontext() if here else downloading("the Inception weights", URL_INCEPTION_V3):
                state = _tensors_of(weights, URL_INCEPTION_V3)
            # torch-fidelity unpickles whatever the file holds; it is given a copy of the tensors instead.
            copy = io.BytesIO()
            torch.save(state, copy)
            copy.seek(0)
            network = FeatureExtractorInceptionV3(
                "inception-v3-compat",
                ["2048", "logits_unbiased"],
                feature_extractor_weights_path=copy,
                verbose=False,
            )
        # Downloading and parsing a file that is not the expected one fail in many ways; the advice is the same.
        except Exception as error:
            what = "downloaded" if weights is None else f"read from '{weights}'"
            reason = str(error).strip().splitlines() or [type(error).__name__]
            if isinstance(error, pickle.UnpicklingError):
                reason = ["it is no file of tensors; anything else is not read, because it could run code"]
            raise ScoreError(f"the Inception weights cannot be {what} ({reason[0]}); {_advice()}") from error
        # The weights as they are in the file: folded ones could differ in their last bit from machine to machine.
        self.key = f"inception-v3-compat-{FoldedInception.version}-{content_hash(network.state_dict())}"
        self._network = FoldedInception(network).arranged_for(device)
        self._device = device
        self.batch = 16 if device.type == "cpu" else 250

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Features:
        """Features [n, 2048] and logits [n, 1008] of images uint8 [n, c, h, w], c 1 or 3.

        Raises:
            ScoreError: the images have neither one channel nor three.
        """
        check_channels(images)
        with torch.autocast(self._device.type, enabled=False):
            features, logits = self._network(images.to(self._device).expand(-1, 3, -1, -1))
        return Features(features, logits)


def check_channels(images: Tensor) -> None:
    """Refuse images uint8 [n, c, h, w] that are neither grey nor in colour.

    Raises:
        ScoreError: says which network takes them.
    """
    channels = images.shape[1]
    if channels not in (1, 3):
        raise ScoreError(
            f"Inception sees colour images of 3 channels, or grey ones of 1; these have {channels}. Score with "
            "extractor = \"classifier\", or with the score 'classifier_score'"
        )


def inception(context: SampleContext, weights: Path | None) -> InceptionExtractor:
    """The Inception network of this context, loaded once.

    Raises:
        ScoreError: the weights cannot be downloaded or read.
    """
    return context.once(f"inception:{weights}", lambda: InceptionExtractor(weights, context.device))


def _tensors_of(weights: Path | None, url: str) -> dict[str, Tensor]:
    """The tensors of a file of weights by name, or of the file at `url`, which is downloaded once.

    Raises:
        pickle.UnpicklingError: the file holds anything else; nothing of it is run.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of files that other versions of pickle wrote
        if weights is not None:
            state = torch.load(weights, map_location="cpu", weights_only=True)
        else:
            state = torch.hub.load_state_dict_from_url(
                url, map_location="cpu", progress=False, check_hash=True, weights_only=True
            )
    if not isinstance(state, dict) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise TypeError("it holds no tensors by name")
    return dict(state)


def describe_network(settings: Mapping[str, Any]) -> str:
    """Describe the network of a score's settings, for scores recorded without a hash of its weights."""
    return f"Inception with weights {settings['weights'] or 'as downloaded'} (their hash was not recorded)"


def _advice() -> str:
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

    return (
        f"either connect this machine once, so that they are downloaded from {URL_INCEPTION_V3}, or fetch that file "
        "elsewhere and name it in the score's 'weights'. Without them, score with extractor = \"classifier\" "
        "(for data with labels) or extractor = \"random\" (for any images), or the score 'classifier_score'"
    )
