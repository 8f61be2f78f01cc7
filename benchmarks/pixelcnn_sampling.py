"""The time that the gated PixelCNN takes to sample images: with its cache, and plainly (without).

Plain sampling computes the whole network anew for each pixel of each image, as many times as there are pixels. A few of
these passes are measured and the time is multiplied: they all cost the same, because convolutions compute every pixel,
drawn or not. The cached sampler is the one of decoder `pixelcnn`, and is measured in full.

Both have the same weights, draw the same number of black and white images in one process of one thread, and take turns;
the median of the rounds is quoted, in CPU time, which other work on the machine disturbs little. Weights are random:
the cost does not depend on them.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genprior.parts import Sizes
from genprior_std.networks.pixelcnn_decoder import PixelCnnDecoder

__all__ = ["line", "main", "measure", "pixels_plainly"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure as the command line says, print Markdown, and write JSON."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(1)
    result = measure(options.width, options.blocks, options.side, options.images, options.passes, options.rounds)
    print(line(result))
    if options.out:
        Path(options.out).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=_count, default=32, help="maps of a stack, and of the head")
    parser.add_argument("--blocks", type=_count, default=3, help="gated layers behind the first")
    parser.add_argument("--side", type=_count, default=32, help="height and width of an image")
    parser.add_argument("--images", type=_count, default=100, help="images that are drawn at once")
    parser.add_argument("--passes", type=_count, default=3, help="whole passes of plain sampling that are measured")
    parser.add_argument("--rounds", type=_count, default=3, help="how often both are measured")
    parser.add_argument("--out", help="the JSON file to write")
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a count; give 1 or more")
    return int(text)


@torch.no_grad()
def measure(width: int, blocks: int, side: int, images: int, passes: int, rounds: int) -> dict[str, Any]:
    """Seconds to draw the images from the cache, and of one plain pass over them, in each round."""
    torch.manual_seed(0)
    config = PixelCnnDecoder.Config(width=width, head_width=width, blocks=blocks)
    decoder = config.make(Sizes(image=(1, side, side), code=16, known=0, asked=0)).eval()
    z, known = torch.randn(images, 16), torch.empty(images, 0)
    uniforms = torch.rand(images, 1, side, side)
    passes = min(passes, side * side)
    pixels_plainly(decoder, z, known, uniforms, 1)
    decoder.sample(z[:1], known[:1], uniforms[:1])
    cached, plain = [], []
    for _ in range(rounds):
        began = time.process_time()
        decoder.sample(z, known, uniforms)
        between = time.process_time()
        pixels_plainly(decoder, z, known, uniforms, passes)
        plain.append((time.process_time() - between) / passes)
        cached.append(between - began)
    setting = {"width": width, "blocks": blocks, "side": side, "images": images, "passes": passes, "rounds": rounds}
    facts = {"torch": torch.__version__, "processor": platform.machine()}
    return {"setting": setting, "facts": facts, "cached": cached, "plain_pass": plain}


@torch.no_grad()
def pixels_plainly(decoder: PixelCnnDecoder, z: Tensor, known: Tensor, uniforms: Tensor, passes: int) -> Tensor:
    """Black and white images of which the first `passes` pixels are drawn, each by a pass of the whole network."""
    x = torch.zeros_like(uniforms)
    side = uniforms.shape[3]
    for i, j in (divmod(pixel, side) for pixel in range(passes)):
        x[:, :, i, j] = decoder.distribution.draw(decoder.numbers(x, z, known), uniforms)[:, :, i, j]
    return x


def line(result: dict[str, Any]) -> str:
    """The measurements in Markdown."""
    setting, facts = result["setting"], result["facts"]
    pixels = setting["side"] ** 2
    cached = statistics.median(result["cached"])
    plain = pixels * statistics.median(result["plain_pass"])
    side = setting["side"]
    return (
        f"width {setting['width']}, {setting['blocks']} blocks, {setting['images']} black and white images of "
        f"{side} x {side}, on the CPU ({facts['processor']}), one thread, process CPU time, median of "
        f"{setting['rounds']} rounds; torch {facts['torch']}; plainly is extrapolated from {setting['passes']} of "
        f"{pixels} passes\n\n"
        "| from the cache | plainly | times as fast |\n|---|---|---|\n"
        f"| {cached:.3g} s | {plain:.3g} s | {plain / cached:.1f} |"
    )


if __name__ == "__main__":
    raise SystemExit(main())
