"""Games: adversarial losses on logits."""
