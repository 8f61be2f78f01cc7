"""Pictures for the page: images enlarged, and the code space with the point that is decoded."""

from __future__ import annotations

import io
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from genprior import printable
from genprior_explore.explorer import CodePlane

__all__ = ["CodeMap", "enlarged", "strip"]

SIDE = 320
"""The least width of an enlarged image, if it has at most so many pixels."""
WIDTH, HEIGHT = 640, 480
"""The size of the picture of the code space, in pixels."""


def enlarged(image: Tensor, side: int = SIDE) -> np.ndarray:
    """An image uint8 [c, h, w] as [H, W, 3], each pixel a square; as `genprior.printable`."""
    shown = printable(image)
    factor = max(1, side // max(shown.shape[1:]))
    return np.asarray(shown.expand(3, -1, -1).permute(1, 2, 0).numpy().repeat(factor, 0).repeat(factor, 1))


def strip(images: Tensor) -> np.ndarray:
    """Images [n, c, h, w] side by side, [H, W, 3]."""
    return np.concatenate([enlarged(image, 96) for image in images], axis=1)


class CodeMap(NamedTuple):
    """The code space as a picture, on which a pixel is a point."""

    picture: Image.Image
    low: Tensor
    """[2], the point of the lower left corner."""
    high: Tensor
    """[2], that of the upper right one."""

    @classmethod
    def of(cls, plane: CodePlane) -> CodeMap:
        """Draw the points of a plane, by label."""
        from matplotlib.figure import Figure

        low, high = plane.points.min(0).values, plane.points.max(0).values
        margin = ((high - low) * 0.08).clamp_min(1e-6)
        low, high = low - margin, high + margin
        figure = Figure(figsize=(WIDTH / 100, HEIGHT / 100), dpi=100)
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        axes.set_axis_off()
        axes.set_xlim(float(low[0]), float(high[0]))
        axes.set_ylim(float(low[1]), float(high[1]))
        colours = "C7" if not plane.classes else [f"C{int(y) % 10}" for y in plane.labels]
        x, y = plane.points.mT.numpy()
        axes.scatter(x, y, s=12, c=colours, alpha=0.6, linewidths=0)
        for number, name in enumerate(plane.classes[:20]):
            own = plane.points[plane.labels == number]
            if len(own):
                place = own.median(0).values
                box = {"boxstyle": "round,pad=0.15", "fc": "white", "ec": f"C{number % 10}", "alpha": 0.8}
                style: dict[str, Any] = {"size": 9, "ha": "center", "va": "center", "parse_math": False}
                axes.text(float(place[0]), float(place[1]), name, bbox=box, **style)
        content = io.BytesIO()
        figure.savefig(content, format="png", facecolor="white")
        return cls(Image.open(content).convert("RGB"), low, high)

    def marked(self, point: Tensor) -> np.ndarray:
        """The picture with a cross at a point [2]; at the border if it lies outside."""
        picture = self.picture.copy()
        share = ((point.double() - self.low) / (self.high - self.low)).clamp(0, 1)
        x, y = float(share[0]) * (WIDTH - 1), (1 - float(share[1])) * (HEIGHT - 1)
        draw = ImageDraw.Draw(picture)
        for colour, width in (("white", 7), ("black", 3)):
            draw.ellipse((x - 9, y - 9, x + 9, y + 9), outline=colour, width=width // 2)
            draw.line((x - 14, y, x + 14, y), fill=colour, width=width)
            draw.line((x, y - 14, x, y + 14), fill=colour, width=width)
        return np.asarray(picture)

    def point(self, x: float, y: float) -> Tensor:
        """The point [2] at a pixel, x to the right and y down."""
        share = torch.tensor([x / (WIDTH - 1), 1 - y / (HEIGHT - 1)], dtype=torch.float64)
        return self.low + share * (self.high - self.low)
