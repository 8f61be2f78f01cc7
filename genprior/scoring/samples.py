"""Messages about scores of fewer images than they ask for."""

from __future__ import annotations

from pydantic import ValidationError

from genprior.errors import ScoreError
from genprior.parts import Score

__all__ = ["too_few_images"]


def too_few_images(score: Score, images: int) -> str:
    """Why a score of `score.samples` generated images cannot be measured on fewer, and the command that can."""
    text = f"there are {images:,} images, and it takes {score.samples or 0:,}; give it more, or --samples {images}"
    try:
        fewer: Score = score.with_samples(images).make()
        fewer.check()
    except (ScoreError, ValidationError) as error:
        # The settings that count samples have to be lowered together.
        reason = str(error) if isinstance(error, ScoreError) else f"{images} samples are too few for it"
        return f"there are {images:,} images, and it takes {score.samples or 0:,}. With all {images}, {reason}"
    return text
