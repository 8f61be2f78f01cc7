"""The Inception extractor, with random weights of the right shape, and the messages about missing weights."""

from __future__ import annotations

import os
import pickle
import urllib.error

import pytest
import torch
import torch_fidelity.feature_extractor_inceptionv3 as upstream
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

from genprior.errors import ScoreError
from genprior.storage.cache import content_hash
from genprior_std.scores.fid import FID
from genprior_std.scores.inception import inception
from genprior_std.scores.inception_network import FoldedInception, resize_like_tensorflow
from genprior_std.scores.inception_score import InceptionScore


class Small(torch.nn.Module):
    """Stands for torch-fidelity's network where only the loading of weights is looked at: one layer a part."""

    def __init__(self, name, features_list, feature_extractor_weights_path=None, **kwargs):
        super().__init__()
        assert features_list == ["2048", "logits_unbiased"]
        self.Conv2d_1a_3x3 = upstream.BasicConv2d(3, 4, kernel_size=3, stride=9)
        self.Mixed_5b = upstream.BasicConv2d(4, 5, kernel_size=1)
        self.AvgPool = torch.nn.AdaptiveAvgPool2d(1)
        self.fc = torch.nn.Linear(5, 2)
        self.eval()
        if feature_extractor_weights_path != "random":
            self.load_state_dict(torch.load(feature_extractor_weights_path, weights_only=False))


@pytest.fixture
def small(monkeypatch):
    def refuse(*args, **kwargs):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr("torch_fidelity.feature_extractor_inceptionv3.FeatureExtractorInceptionV3", Small)
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refuse)


def saved(path, seed):
    torch.manual_seed(seed)
    torch.save(Small("", ["2048", "logits_unbiased"], "random").state_dict(), path)
    return path


def test_no_network_and_no_weights_names_both_ways_out(small, make_context):
    with pytest.raises(ScoreError) as caught:
        InceptionScore(InceptionScore.Config()).measure(make_context())
    message = str(caught.value)
    assert "cannot be downloaded" in message and "no route to host" in message
    assert upstream.URL_INCEPTION_V3 in message
    assert "name it in the score's 'weights'" in message
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


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("form", ["zip", "legacy", "pickle"])
def test_a_file_of_weights_runs_no_code(small, make_context, tmp_path, form):
    path, made = tmp_path / "bomb.pth", tmp_path / "made"
    content = {"fc.weight": torch.zeros(2, 5), "fc.bias": Bomb(made)}
    if form == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(ScoreError, match=r"cannot be read from .*bomb.pth' \(it is no file of tensors; anything else"):
        inception(make_context(), path)
    assert not made.exists()
    if form == "zip":
        torch.load(path, weights_only=False)
        assert made.exists()  # the file does run code where it is trusted


def test_the_weights_are_kept_as_an_absolute_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for part in (InceptionScore, FID):
        config = part.Config(weights="w.pth")
        assert config.weights == tmp_path / "w.pth" and part.Config(weights=tmp_path / "w.pth") == config
        monkeypatch.chdir("/")
        again = part.Config.model_validate(config.model_dump(mode="json"))
        assert again == config
        monkeypatch.chdir(tmp_path)


def test_the_downloaded_file_is_read_as_tensors_too(small, make_context, tmp_path, monkeypatch):
    path = saved(tmp_path / "1.pth", 1)
    asked = {}

    def load(url, **how):
        asked.update(how, url=url)
        return torch.load(path, weights_only=True)

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", load)
    assert inception(make_context(), None).key == inception(make_context(), path).key
    assert asked["weights_only"] and asked["check_hash"] and asked["url"] == upstream.URL_INCEPTION_V3


def test_weights_of_another_network_are_refused(small, make_context, tmp_path):
    path = tmp_path / "other.pth"
    torch.save(torch.nn.Linear(5, 5).state_dict(), path)
    with pytest.raises(ScoreError, match="cannot be read from .*other.pth"):
        inception(make_context(), path)


def test_the_key_follows_the_weights_and_the_network_is_loaded_once(small, make_context, tmp_path):
    first, second = saved(tmp_path / "1.pth", 1), saved(tmp_path / "2.pth", 2)
    context = make_context()
    a, b = inception(context, first), inception(context, second)
    assert a.key != b.key and a.key.endswith(content_hash(torch.load(first)))
    assert inception(context, first) is a
    copy = tmp_path / "copy.pth"
    copy.write_bytes(first.read_bytes())
    assert inception(context, copy).key == a.key


def test_grey_images_are_repeated_to_three_channels(small, make_context, tmp_path):
    extractor = inception(make_context(), saved(tmp_path / "1.pth", 1))
    grey = torch.randint(256, (4, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(extractor(grey).features, extractor(grey.repeat(1, 3, 1, 1)).features)
    with pytest.raises(
        ScoreError, match='3 channels, or grey ones of 1; these have 4. Score with extractor = "classifier"'
    ):
        extractor(grey.repeat(1, 4, 1, 1))


def random_pixels(n, *shape):
    return torch.randint(256, (n, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def whole(monkeypatch, tmp_path):
    """torch-fidelity's own class, whole, with random weights, and the file that holds them.

    Batch norm is anything but the identity, and every channel has another one.
    """
    monkeypatch.setattr(upstream, "load_state_dict_from_url", lambda *args, **kwargs: {})
    monkeypatch.setattr(upstream.FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
    torch.manual_seed(0)
    network = upstream.FeatureExtractorInceptionV3("inception-v3-compat", ["2048", "logits_unbiased"], verbose=False)
    monkeypatch.undo()
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
        if isinstance(module, torch.nn.BatchNorm2d):
            for values, low, high in (
                (module.weight, 0.5, 1.5), (module.bias, -0.3, 0.5), (module.running_mean, -0.3, 0.3),
                (module.running_var, 0.5, 2.0),
            ):  # fmt: skip
                values.uniform_(low, high)
    path = tmp_path / "random.pth"
    torch.save(network.state_dict(), path)
    return network, path


def test_features_and_logits_are_those_of_torch_fidelity(whole, make_context):
    """Pool3 and unbiased logits of six images: more than go through the first layers at a time."""
    network, path = whole
    extractor = inception(make_context(), path)
    images = random_pixels(6, 3, 32, 32)
    features, logits = extractor(images)
    expected, expected_logits = network(images)
    assert features.shape == (6, 2048) and logits.shape == (6, 1008)
    assert expected.std(0).mean() > 1e-3 * expected.abs().mean()  # images differ by more than the tolerance
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-5 * expected.abs().max().item())
    torch.testing.assert_close(logits, expected_logits, rtol=1e-4, atol=1e-5 * expected_logits.abs().max().item())
    torch.testing.assert_close(logits, features @ network.fc.weight.T)
    assert extractor.key.endswith(content_hash(network.state_dict()))


def test_only_weights_and_the_way_of_computing_are_in_the_key(small, make_context, tmp_path, monkeypatch):
    path = saved(tmp_path / "1.pth", 1)
    before = inception(make_context(), path).key
    assert inception(make_context(), path).key == before
    monkeypatch.setattr(FoldedInception, "version", "folded-later")
    after = inception(make_context(), path).key
    assert after != before and after.split("-")[-1] == before.split("-")[-1]


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (32, 32), (17, 40), (299, 299), (640, 400)])
def test_images_are_resized_as_tensorflow_does(size):
    x = random_pixels(2, 3, *size).float()
    expected = interpolate_bilinear_2d_like_tensorflow1x(x, size=(299, 299), align_corners=False)
    torch.testing.assert_close(resize_like_tensorflow(x, 299), expected, rtol=1e-5, atol=1e-4)


def test_a_part_of_the_batch_is_seen_as_in_the_whole(small, make_context, tmp_path):
    extractor = inception(make_context(), saved(tmp_path / "1.pth", 1))
    images = random_pixels(extractor.batch, 3, 8, 8)
    features = extractor(images).features
    assert len(features) == extractor.batch
    for start, stop in ((0, 1), (3, 9), (extractor.batch - 1, extractor.batch)):
        torch.testing.assert_close(extractor(images[start:stop]).features, features[start:stop])
