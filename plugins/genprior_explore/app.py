"""The page: controls and pictures of one run or of two side by side."""

from __future__ import annotations

import base64
import contextlib
import html
import io
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gradio as gr
import numpy as np
import torch
from gradio.data_classes import ImageData
from PIL import Image
from torch import Tensor

from genprior import GenpriorError, PlanError, visible
from genprior_explore.explorer import Asked, Explorer, noise_of
from genprior_explore.pictures import CodeMap, enlarged, strip

__all__ = ["CSS", "Page", "theme"]

SLIDERS = 8
"""Numbers of noise that have a slider."""
STEPS = 9
"""Pictures of a walk."""
BOUND = 4.0
"""The largest number of a slider."""
MOST = 2**53 - 1
"""The largest seed: a browser knows no larger whole number exactly."""
CSS = """
.picture img { image-rendering: pixelated; object-fit: contain; }
.caption { margin: 0; }
footer { display: none !important; }
@media (max-width: 760px) { .views { order: -1; } }
"""


def theme() -> Any:
    """Gradio's plain theme with fonts of the system, so that none is loaded from elsewhere."""
    return gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])


class Page:
    """The controls and what they show."""

    def __init__(self, explorers: Sequence[Explorer]) -> None:
        """Take the runs, one or two."""
        self._explorers = explorers
        self._sliders = min(SLIDERS, max(explorer.sliders for explorer in explorers))
        self._maps: dict[int, CodeMap] = {}

    # -----------------------------------------------------------------------------------------------------------------
    # From numbers to pictures
    # -----------------------------------------------------------------------------------------------------------------

    # A page sends what was typed: numbers may be missing, too large, or no numbers.

    def noise(self, seed: Any, *moved: Any) -> Tensor:
        """The noise of a seed, with the numbers of the sliders first, [m]."""
        numbers = noise_of(seed_of(seed))
        numbers[: len(moved)] = torch.tensor([_between(value, -BOUND, BOUND) for value in moved])
        return numbers

    def asked(self, explorer: Explorer, label: Any, text: Any) -> Asked:
        """What is asked of a run: another run may have other labels, or none."""
        names = explorer.names
        index = (names.index(label) if label in names else 0) if names else None
        return Asked(index, text if explorer.takes_text and isinstance(text, str) else None)

    def shown(self, seed: Any, label: Any, text: Any, *moved: Any) -> list[np.ndarray]:
        """The picture of each run for the same noise."""
        pictures = []
        for explorer in self._explorers:
            asked = self.asked(explorer, label, text)
            z = explorer.codes(self.noise(seed, *moved)[None], asked, seed=seed_of(seed))
            pictures.append(enlarged(explorer.images(z, asked, seed=seed_of(seed))[0]))
        return pictures

    def walked(self, seed: Any, other: Any, t: Any, label: Any, text: Any, *moved: Any) -> list[np.ndarray]:
        """For each run the picture at t on the way to another seed, and those of the whole way."""
        pictures = []
        first, second = self.noise(seed, *moved), noise_of(seed_of(other))
        for explorer in self._explorers:
            asked = self.asked(explorer, label, text)
            places = torch.cat([torch.tensor([_between(t, 0, 1)]), torch.linspace(0, 1, STEPS)])
            seeds = (seed_of(seed), seed_of(other))
            z = explorer.walk((first, second), places, asked, seeds=seeds)
            images = explorer.images(z, asked, seed=seed_of(seed))
            pictures += [enlarged(images[0]), strip(images[1:])]
        return pictures

    def mapped(self, seed: Any, label: Any, text: Any, *moved: Any) -> list[Any]:
        """For each run the code space with the code of the noise marked, its picture, and its numbers."""
        return [each for i in range(len(self._explorers)) for each in self._at(i, None, seed, label, text, *moved)]

    def _at(
        self, i: int, pixel: tuple[float, float] | None, seed: Any, label: Any, text: Any, *moved: Any
    ) -> list[Any]:
        explorer = self._explorers[i]
        asked = self.asked(explorer, label, text)
        z = explorer.codes(self.noise(seed, *moved)[None], asked, seed=seed_of(seed))
        plane = explorer.plane
        if plane is None:
            return [None, enlarged(explorer.images(z, asked, seed=seed_of(seed))[0]), "The codes are single numbers."]
        if i not in self._maps:
            self._maps[i] = CodeMap.of(plane)
        if pixel is not None:
            z = plane.moved(z, self._maps[i].point(*pixel)[None])
        point = plane.point(z)[0]
        told = "Points are test images" if plane.of_images else "Points are codes drawn with the prior"
        return [
            self._maps[i].marked(point),
            enlarged(explorer.images(z, asked, seed=seed_of(seed))[0]),
            f"{told}. The cross is at ({float(point[0]):.3f}, {float(point[1]):.3f}); click to move it.",
        ]

    # -----------------------------------------------------------------------------------------------------------------
    # The page
    # -----------------------------------------------------------------------------------------------------------------

    def build(self) -> Any:
        """The page, as Gradio's blocks."""
        title = " beside ".join(explorer.title for explorer in self._explorers)
        with gr.Blocks(title=f"genprior explore: {title}", analytics_enabled=False) as blocks:
            _caption(title, "h1")
            with gr.Row():
                with gr.Column(scale=2, min_width=280):
                    seed, again, sliders, label, text = self._controls()
                with gr.Column(scale=3, min_width=320, elem_classes="views"), gr.Tabs():
                    with gr.Tab("Noise", id="noise"):
                        pictures = self._pictures()
                    with gr.Tab("Walk", id="walk") as walk_tab:
                        other = gr.Number(1, label="Seed of the other end", precision=0, minimum=0, elem_id="other")
                        t = gr.Slider(0, 1, 0.5, step=0.01, label="Way from the noise to the other end", elem_id="way")
                        walked = self._walks()
                    with gr.Tab("Codes", id="codes") as codes_tab:
                        maps = self._code_spaces()
            state = [seed, label, text, *sliders]
            walking = [seed, other, t, *state[1:]]
            quick: dict[str, Any] = {
                "show_progress": "hidden",
                "trigger_mode": "always_last",
                "api_visibility": "private",
                "preprocess": False,  # Gradio's words about a number that is missing name its own components
            }
            show, walk, code_space = _told(self.shown), _told(self.walked), _told(self.mapped)
            asking = [label.change, text.submit, text.blur]
            for slider in sliders:
                slider.input(show, state, pictures, **quick)
                slider.release(walk, walking, walked, **quick)  # not while it is dragged
                slider.release(code_space, state, maps, **quick)

            def show_all(event: Any) -> None:
                # One after the other, so that what is wrong is told once.
                event(show, state, pictures, **quick).success(walk, walking, walked, **quick).success(
                    code_space, state, maps, **quick
                )

            for event in asking:
                show_all(event)
            for event in (t.input, other.change, walk_tab.select):
                event(walk, walking, walked, **quick)
            codes_tab.select(code_space, state, maps, **quick)
            for event in (seed.change, blocks.load):
                show_all(event(_told(self._first_numbers), [seed], sliders, **quick).success)
            again.click(_told(lambda s: [seed_of(s) + 1]), [seed], [seed], **quick)
            for i in range(len(self._explorers)):
                self._click(i, maps, state, quick)
        return blocks

    def _controls(self) -> tuple[Any, Any, list[Any], Any, Any]:
        with gr.Row():
            seed = gr.Number(0, label="Seed", precision=0, minimum=0, elem_id="seed", scale=1, min_width=100)
            again = gr.Button("New noise", elem_id="again", scale=1, min_width=100)
        names = next((explorer.names for explorer in self._explorers if explorer.names), [])
        asked = "Category" if any(e.run.model.asks.kind == "category" for e in self._explorers) else "Label"
        speaking = next((explorer for explorer in self._explorers if explorer.takes_text), None)
        label = gr.Dropdown(
            names or ["none"], value=(names or ["none"])[0], label=asked, visible=bool(names), elem_id="label"
        )
        text = gr.Textbox(
            speaking.sentences[0] if speaking else "", label="Sentence", visible=speaking is not None, elem_id="text",
            max_lines=2,
        )  # fmt: skip
        numbers = noise_of(0)[: self._sliders].tolist()
        moved = " or ".join(dict.fromkeys(explorer.moved for explorer in self._explorers))
        sliders = [
            gr.Slider(
                -BOUND,
                BOUND,
                round(_between(value, -BOUND, BOUND), 3),
                step=0.001,
                label=f"{moved} {i + 1}",
                elem_id=f"noise-{i + 1}",
                buttons=[],
            )
            for i, value in enumerate(numbers)
        ]
        return seed, again, sliders, label, text

    def _pictures(self) -> list[Any]:
        pictures = []
        with gr.Row():
            for i, explorer in enumerate(self._explorers, 1):
                with gr.Column(min_width=160):
                    pictures.append(_picture(f"Image of {explorer.title}", f"image-{i}"))
        return pictures

    def _walks(self) -> list[Any]:
        pictures = []
        with gr.Row():
            for i, explorer in enumerate(self._explorers, 1):
                way = "through noise" if explorer.all_given else "through codes"
                with gr.Column(min_width=260):
                    pictures.append(_picture(f"Image of {explorer.title}, {way}", f"walk-{i}"))
                    pictures.append(_picture("The whole way", f"strip-{i}", height=None))
        return pictures

    def _code_spaces(self) -> list[Any]:
        components: list[Any] = []
        for i, explorer in enumerate(self._explorers, 1):
            with gr.Row():
                with gr.Column(min_width=300, scale=3):
                    components.append(_picture(f"Code space of {explorer.title}", f"map-{i}", height=None))
                with gr.Column(min_width=200, scale=2):
                    components.append(_picture("The point, decoded", f"decoded-{i}", height=280))
            components.append(gr.HTML(elem_id=f"point-{i}"))
        return components

    def _click(self, i: int, maps: list[Any], state: list[Any], quick: dict[str, Any]) -> None:
        def clicked(event: gr.SelectData, *values: Any) -> list[Any]:
            with _in_words():
                return self._at(i, (event.index[0], event.index[1]), *values)

        maps[3 * i].select(clicked, state, maps[3 * i : 3 * i + 3], **quick)

    def _first_numbers(self, seed: Any) -> list[float]:
        return [round(_between(value, -BOUND, BOUND), 3) for value in noise_of(seed_of(seed))[: self._sliders].tolist()]


def seed_of(value: Any) -> int:
    """The seed that a page sends; 0 of an empty field.

    Raises:
        PlanError: it is no whole number, or one that a browser does not know exactly.
    """
    try:
        number = float(0 if value is None or value == "" else value)
    except (TypeError, ValueError, OverflowError):
        number = -1.0
    if not (0 <= number <= MOST and number.is_integer()):
        raise PlanError(f"{value!r:.40} is no seed; give a whole number from 0 to {MOST:,}")
    return int(number)


def _between(value: Any, least: float, most: float) -> float:
    """A number of a slider, which is 0 where its field is empty or holds none, and at most as far as its ends."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = 0.0
    return min(most, max(least, number)) if number == number else 0.0  # not a number is not equal to itself


def _caption(text: str, tag: str = "p") -> None:
    """A text, in which a name of a run is no HTML and hides nothing."""
    gr.HTML(f'<{tag} class="caption">{html.escape(visible(text))}</{tag}>')


def _picture(name: str, place: str, height: int | None = 360) -> Any:
    """A picture under its name."""
    _caption(name)
    picture: Any = gr.Image(
        label=name,
        show_label=False,
        elem_id=place,
        elem_classes="picture",
        format="png",
        interactive=False,
        buttons=[],
        alt_text=name,
        height=height,
    )
    # Gradio would write a file for each picture, and write it again while another page reads it.
    picture.postprocess = _in_the_answer
    return picture


def _in_the_answer(image: np.ndarray | None) -> ImageData | None:
    """The picture as a PNG in its address, so that no file is written."""
    if image is None:
        return None
    content = io.BytesIO()
    Image.fromarray(image).save(content, "PNG")
    return ImageData(url=f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}")


@contextlib.contextmanager
def _in_words() -> Iterator[None]:
    """Errors of genprior as messages on the page, which reads them as HTML; nothing in the terminal."""
    try:
        yield
    except GenpriorError as error:
        raise gr.Error(html.escape(visible(str(error))), print_exception=False) from error


def _told(function: Callable[..., list[Any]]) -> Callable[..., Any]:
    """The function, with errors of genprior as messages; a single value without its list."""

    def called(*values: Any) -> Any:
        with _in_words():
            shown = function(*values)
        return shown if len(shown) != 1 else shown[0]

    return called
