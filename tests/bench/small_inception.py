"""A small network in place of Inception, in torch-fidelity and in genprior."""

from __future__ import annotations

import torch


class Small(torch.nn.Module):
    """Replaces the Inception network, in torch-fidelity and in genprior: a fast one of 12 features."""

    def __init__(self, name="small", features_list=("2048", "logits_unbiased"), **settings):
        super().__init__()
        self.features_list = features_list
        self.layer = torch.nn.Linear(48, 12)
        self.head = torch.nn.Linear(12, 5)
        path = settings.get("feature_extractor_weights_path")
        if path is not None:
            self.load_state_dict(torch.load(path))

    def forward(self, x):
        pooled = torch.nn.functional.adaptive_avg_pool2d(x.float() / 255, 4).flatten(1)
        features = torch.tanh(self.layer(pooled))
        found = {"2048": features, "logits_unbiased": self.head(features) * 5}
        return tuple(found[name] for name in self.features_list)


class AsItIs:
    """Replaces the folded Inception network when `Small` would be folded."""

    version = "as-it-is"

    def __init__(self, network):
        self.network = network

    def arranged_for(self, device):
        return self.network.to(device)


def stand_in(monkeypatch):
    monkeypatch.setattr("torch_fidelity.feature_extractor_inceptionv3.FeatureExtractorInceptionV3", Small)
    monkeypatch.setattr("genprior_std.scores.inception.FoldedInception", AsItIs)


def weights(path, seed):
    torch.manual_seed(seed)
    torch.save(Small().state_dict(), path)
    return path
