"""The Inception extractor, with weights that are random but of the right shape, and what missing weights say."""

from __future__ import annotations

import urllib.error

import pytest
import torch
import torch_fidelity.feature_extractor_inceptionv3 as upstream

from genprior.errors import ScoreError
from genprior.score import digest
from genprior_std.scores.inception import inception
from genprior_std.scores.inception_score import InceptionScore


class Small(torch.nn.Module):
    """Stands for torch-fidelity's network where only the loading of weights is looked at."""

    def __init__(self, name, features_list, feature_extractor_weights_path=None, **kwargs):
        super().__init__()
        assert features_list == ["2048", "logits_unbiased"]
        self.layer = torch.nn.Linear(3, 2)
        if feature_extractor_weights_path is None:
            raise urllib.error.URLError("no route to host")
        self.load_state_dict(torch.load(feature_extractor_weights_path, weights_only=False))

    def forward(self, x):
        assert x.dtype == torch.uint8 and x.shape[1] == 3
        seen = self.layer(x.float().mean(dim=(2, 3)))
        return seen, seen * 2


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr("torch_fidelity.feature_extractor_inceptionv3.FeatureExtractorInceptionV3", Small)


def saved(path, seed):
    torch.manual_seed(seed)
    torch.save(torch.nn.Linear(3, 2).state_dict(), path)
    state = torch.load(path)
    torch.save({f"layer.{name}": value for name, value in state.items()}, path)
    return path


def test_no_network_and_no_weights_names_both_ways_out(small, make_context):
    with pytest.raises(ScoreError) as caught:
        InceptionScore(InceptionScore.Config()).measure(make_context())
    message = str(caught.value)
    assert "cannot be downloaded" in message and "no route to host" in message
    assert upstream.URL_INCEPTION_V3 in message
    assert "name it in the score's 'weights'" in message and "pickle" in message and "trusted files only" in message
    assert 'extractor = "classifier"' in message and "'classifier_score'" in message


def test_a_missing_file_is_named(make_context, tmp_path):
    with pytest.raises(ScoreError, match="no file of Inception weights at .*absent.pth"):
        inception(make_context(), tmp_path / "absent.pth")


@pytest.mark.parametrize("content", [b"", b"not a pickle", b"\x80\x02K\x01."])
def test_a_file_that_is_no_weights_is_refused(small, make_context, tmp_path, content):
    path = tmp_path / "odd.pth"
    path.write_bytes(content)
    with pytest.raises(ScoreError, match="cannot be read from .*odd.pth"):
        inception(make_context(), path)


def test_weights_of_another_network_are_refused(small, make_context, tmp_path):
    path = tmp_path / "other.pth"
    torch.save(torch.nn.Linear(5, 5).state_dict(), path)
    with pytest.raises(ScoreError, match="cannot be read from .*other.pth"):
        inception(make_context(), path)


def test_the_key_follows_the_weights_and_the_network_is_loaded_once(small, make_context, tmp_path):
    first, second = saved(tmp_path / "1.pth", 1), saved(tmp_path / "2.pth", 2)
    context = make_context()
    a, b = inception(context, first), inception(context, second)
    assert a.key != b.key and a.key.endswith(digest(torch.load(first)))
    assert inception(context, first) is a
    copy = tmp_path / "copy.pth"
    copy.write_bytes(first.read_bytes())
    assert inception(context, copy).key == a.key


def test_grey_images_are_repeated_to_three_channels(small, make_context, tmp_path):
    extractor = inception(make_context(), saved(tmp_path / "1.pth", 1))
    grey = torch.randint(256, (4, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(extractor(grey).features, extractor(grey.repeat(1, 3, 1, 1)).features)
    with pytest.raises(ScoreError, match="3 channels, or of 1; these have 4"):
        extractor(grey.repeat(1, 4, 1, 1))


def test_the_real_network_gives_pool3_and_unbiased_logits(make_context, tmp_path, monkeypatch):
    """torch-fidelity's own class, whole, with random weights saved by itself."""
    monkeypatch.setattr(upstream, "load_state_dict_from_url", lambda *args, **kwargs: {})
    monkeypatch.setattr(upstream.FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
    torch.manual_seed(0)
    network = upstream.FeatureExtractorInceptionV3("inception-v3-compat", ["2048", "logits_unbiased"], verbose=False)
    monkeypatch.undo()
    path = tmp_path / "random.pth"
    torch.save(network.state_dict(), path)
    extractor = inception(make_context(), path)
    images = torch.randint(256, (2, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    features, logits = extractor(images)
    assert features.shape == (2, 2048) and logits.shape == (2, 1008)
    torch.testing.assert_close(logits, features @ network.fc.weight.T)
    torch.testing.assert_close(features, network(images)[0])
