"""The classifier: it learns, and is trained once for the same data."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from genprior.errors import ScoreError
from genprior.parts import ImageSet
from genprior.scoring.context import SampleContext
from genprior.scoring.measure import measure_all
from genprior.storage.cache import content_hash
from genprior_std.datasets.digits import Digits
from genprior_std.scores import classifier as module
from genprior_std.scores.classifier import ClassifierNet, classifier, content_key, fit
from genprior_std.scores.classifier_score import ClassifierScore


def files(cache):
    return sorted(path.name for path in (cache / "classifiers").glob("*.safetensors"))


def test_it_reads_digits(tmp_path):
    digits = Digits(Digits.Config(size=16))
    context = SampleContext(lambda n: digits.load("test").images[:n], digits.load, device="cpu", seed=0, cache=tmp_path)
    trained = classifier(context)
    test = digits.load("test")
    # 360 images: a net that is right 99 % of the time falls below 0.97 with a probability below 0.001.
    right = (context.features(trained, "test").logits.argmax(1) == test.labels).float().mean()
    assert right >= 0.97
    assert trained.accuracy == pytest.approx(float(right))
    assert trained.classes == 10
    assert context.features(trained, "test").features.shape == (360, 64)
    # Real test images as samples: the score of what is real is near that of ten balanced, certain classes.
    found = measure_all([ClassifierScore(ClassifierScore.Config(samples=360, splits=1))], context, "real")
    assert found["classifier_score"] == pytest.approx(found["real_classifier_score"])
    assert 9.0 < found["classifier_score"] <= 10.0


def test_it_is_trained_once_and_kept_by_content(make_context, tmp_path, load_shapes, monkeypatch):
    calls = []
    monkeypatch.setattr(module, "fit", lambda *args: calls.append(1) or fit(*args))
    first = classifier(make_context())
    again = classifier(make_context())
    assert len(calls) == 1
    assert files(tmp_path) == [f"{content_key(load_shapes('train'))}.safetensors"]
    assert first.key == again.key and first.accuracy == again.accuracy
    images = load_shapes("test").images
    assert torch.equal(first(images).logits, again(images).logits)
    assert first.accuracy >= 0.97

    def changed(split):
        whole = load_shapes(split)
        return whole._replace(images=whole.images.flip(-1))

    assert classifier(make_context(load=changed)).key != first.key
    assert len(calls) == 2 and len(files(tmp_path)) == 2


def test_the_key_changes_with_what_is_learnt(load_shapes):
    train = load_shapes("train")
    one_pixel = train.images.clone()
    one_pixel[0, 0, 0, 0] ^= 1
    keys = [
        content_key(train),
        content_key(train._replace(images=one_pixel)),
        content_key(train._replace(labels=train.labels.flip(0))),
        content_key(train._replace(images=train.images[:-1], labels=train.labels[:-1])),
        content_key(train._replace(classes=(*train.classes, "more"))),
    ]
    assert len(set(keys)) == len(keys)
    assert content_key(ImageSet(train.images.clone(), train.labels.clone(), train.classes)) == keys[0]


def test_training_leaves_the_generator_alone_and_needs_no_luck(load_shapes):
    train = load_shapes("train")
    weights = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        weights.append(fit(train.images, train.labels, 3, torch.device("cpu")).state_dict())
        assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_it_trains_where_gradients_are_off(load_shapes):
    train = load_shapes("train")
    with torch.no_grad():
        network = fit(train.images, train.labels, 3, torch.device("cpu"))
        assert (network(train.images)[1].argmax(1) == train.labels).float().mean() > 0.97


@pytest.mark.parametrize("size", [(1, 8, 8), (3, 28, 28), (1, 32, 32), (3, 5, 9), (1, 3, 3), (3, 64, 48)])
def test_it_takes_any_size(size):
    c, h, w = size
    network = ClassifierNet(c, min(h, w), 7).eval()
    features, logits = network(torch.zeros(2, *size, dtype=torch.uint8))
    assert features.shape == (2, 64) and logits.shape == (2, 7)


@pytest.mark.parametrize("n", [2, 3, 65])
def test_it_takes_few_images(n, load_shapes):
    train = load_shapes("train")
    network = fit(train.images[:n], train.labels[:n], 3, torch.device("cpu"))
    assert all(torch.isfinite(p).all() for p in network.parameters())


def test_data_without_labels_are_refused(make_context, load_shapes):
    def unlabelled(split):
        whole = load_shapes(split)
        return whole._replace(labels=torch.zeros_like(whole.labels), classes=())

    with pytest.raises(ScoreError, match=r"this one has 0 .* give it labels, or .*extractor = \"random\""):
        classifier(make_context(load=unlabelled))


def test_labels_without_a_class_are_refused(make_context, load_shapes):
    def odd(split):
        whole = load_shapes(split)
        return whole._replace(labels=whole.labels + 1)

    with pytest.raises(ScoreError, match="labels must be 0 to 2.* the training split has 1 to 3"):
        classifier(make_context(load=odd))


def test_the_number_of_threads_does_not_change_the_network():
    """Training in 1 and 2 threads, with the weights compared to the last bit; their number is then as before."""
    train, before, found = Digits(Digits.Config(size=16)).load("train").take(slice(64)), torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            network = fit(train.images, train.labels, len(train.classes), torch.device("cpu"))
            assert torch.get_num_threads() == threads
            found.append(content_hash(network.state_dict()))
    finally:
        torch.set_num_threads(before)
    assert found[0] == found[1]


TRAIN_ONE = """
import sys
from pathlib import Path
import torch
from genprior.parts import ImageSet
from genprior.scoring.context import SampleContext
from genprior_std.datasets.digits import Digits
from genprior_std.scores import classifier as module
torch.set_num_threads(1)
digits, fit, calls = Digits(Digits.Config(size=8)), module.fit, []
module.fit = lambda *args: calls.append(1) or fit(*args)
cache = Path(sys.argv[1])
load = lambda split: ImageSet(*(part[:300] for part in digits.load(split)))  # few, so that training takes a second
context = SampleContext(lambda n: load("test").images[:n], load, device="cpu", seed=0, cache=cache)
print("ready", flush=True)
sys.stdin.readline()
print(module.classifier(context).key, len(calls))
"""


def test_two_processes_at_once_train_one(tmp_path):
    start = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen([sys.executable, "-c", TRAIN_ONE, str(tmp_path)], **start) for _ in range(2)]
    assert [process.stdout.readline() for process in processes] == ["ready\n", "ready\n"]
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    found = [process.communicate(timeout=200)[0].split() for process in processes]
    assert sorted(trained for _, trained in found) == ["0", "1"]
    assert len({key for key, _ in found}) == 1
    assert len(files(tmp_path)) == 1
