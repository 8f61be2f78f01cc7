"""The page: controls and pictures of one run or of two side by side."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import gradio as gr
import numpy as np
import torch
from torch import Tensor

from genprior import GenpriorError, visible
from genprior_explore.explorer import Asked, Explorer, noise_of
from genprior_explore.pictures import CodeMap, enlarged, strip

__all__ = ["CSS", "Page", "theme"]

SLIDERS = 8
"""Numbers of noise that have a slider."""
STEPS = 9
"""Pictures of a walk."""
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

    def noise(self, seed: float, *moved: float) -> Tensor:
        """The noise of a seed, with the numbers of the sliders first, [m]."""
        numbers = noise_of(int(seed or 0))
        numbers[: len(moved)] = torch.tensor([float(value or 0) for value in moved])
        return numbers

    def asked(self, explorer: Explorer, label: str | None, text: str | None) -> Asked:
        """What is asked of a run: another run may have other labels, or none."""
        names = explorer.names
        index = (names.index(label) if label in names else 0) if names else None
        return Asked(index, text if explorer.takes_text else None)

    def shown(self, seed: float, label: str | None, text: str | None, *moved: float) -> list[np.ndarray]:
        """The picture of each run for the same noise."""
        pictures = []
        for explorer in self._explorers:
            asked = self.asked(explorer, label, text)
            z = explorer.codes(self.noise(seed, *moved)[None], asked, seed=int(seed or 0))
            pictures.append(enlarged(explorer.images(z, asked, seed=int(seed or 0))[0]))
        return pictures

    def walked(
        self, seed: float, other: float, t: float, label: str | None, text: str | None, *moved: float
    ) -> list[np.ndarray]:
        """For each run the picture at t on the way to another seed, and those of the whole way."""
        pictures = []
        first, second = self.noise(seed, *moved), noise_of(int(other or 0))
        for explorer in self._explorers:
            asked = self.asked(explorer, label, text)
            places = torch.cat([torch.tensor([float(t)]), torch.linspace(0, 1, STEPS)])
            seeds = (int(seed or 0), int(other or 0))
            z = explorer.walk((first, second), places, asked, seeds=seeds)
            images = explorer.images(z, asked, seed=int(seed or 0))
            pictures += [enlarged(images[0]), strip(images[1:])]
        return pictures

    def mapped(self, seed: float, label: str | None, text: str | None, *moved: float) -> list[Any]:
        """For each run the code space with the code of the noise marked, its picture, and its numbers."""
        return [each for i in range(len(self._explorers)) for each in self._at(i, None, seed, label, text, *moved)]

    def _at(
        self, i: int, pixel: tuple[float, float] | None, seed: float, label: str | None, text: str | None, *moved: float
    ) -> list[Any]:
        explorer = self._explorers[i]
        asked = self.asked(explorer, label, text)
        z = explorer.codes(self.noise(seed, *moved)[None], asked, seed=int(seed or 0))
        plane = explorer.plane
        if plane is None:
            return [None, enlarged(explorer.images(z, asked, seed=int(seed or 0))[0]), "The codes are single numbers."]
        if i not in self._maps:
            self._maps[i] = CodeMap.of(plane)
        if pixel is not None:
            z = plane.moved(z, self._maps[i].point(*pixel)[None])
        point = plane.point(z)[0]
        told = "Points are test images" if plane.of_images else "Points are codes drawn with the prior"
        return [
            self._maps[i].marked(point),
            enlarged(explorer.images(z, asked, seed=int(seed or 0))[0]),
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
            }
            show, walk, code_space = _told(self.shown), _told(self.walked), _told(self.mapped)
            asking = [label.change, text.submit, text.blur]
            for event in (*(slider.input for slider in sliders), *asking):
                event(show, state, pictures, **quick)
            for event in (*(slider.release for slider in sliders), *asking):  # not while a slider is dragged
                event(walk, walking, walked, **quick)
                event(code_space, state, maps, **quick)
            for event in (t.input, other.change, walk_tab.select):
                event(walk, walking, walked, **quick)
            codes_tab.select(code_space, state, maps, **quick)
            for event in (seed.change, blocks.load):
                event(self._first_numbers, [seed], sliders, **quick).then(show, state, pictures, **quick).then(
                    walk, walking, walked, **quick
                ).then(code_space, state, maps, **quick)
            again.click(lambda s: int(s or 0) + 1, [seed], [seed], **quick)
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
                -4, 4, round(value, 3), step=0.001, label=f"{moved} {i + 1}", elem_id=f"noise-{i + 1}", buttons=[]
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
            return self._at(i, (event.index[0], event.index[1]), *values)

        maps[3 * i].select(clicked, state, maps[3 * i : 3 * i + 3], **quick)

    def _first_numbers(self, seed: float) -> Any:
        numbers = [round(min(4.0, max(-4.0, value)), 3) for value in noise_of(int(seed or 0))[: self._sliders].tolist()]
        return numbers if len(numbers) != 1 else numbers[0]


def _caption(text: str, tag: str = "p") -> None:
    """A text, in which a name of a run is no HTML and hides nothing."""
    gr.HTML(f'<{tag} class="caption">{html.escape(visible(text))}</{tag}>')


def _picture(name: str, place: str, height: int | None = 360) -> Any:
    """A picture under its name."""
    _caption(name)
    return gr.Image(
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


def _told(function: Any) -> Any:
    """The function, with errors of genprior as messages on the page."""

    def called(*values: Any) -> Any:
        try:
            shown = function(*values)
        except GenpriorError as error:
            raise gr.Error(str(error)) from error
        return shown if len(shown) != 1 else shown[0]

    return called
