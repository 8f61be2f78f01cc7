"""Panels of images and points: what stands where, pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg

from genprior import DataError, Points, Tiles, scatter_panels, tile_panels
from genprior.pictures.points import PALETTE
from genprior.pictures.texts import width_of, wrapped


def rendered(figure):
    """The pixels [H, W, 3] of a figure at its own resolution."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def pixels_of(axis, picture):
    """The pixels of the picture that an axis covers."""
    box = axis.get_window_extent()
    edges = [box.x0, box.x1, len(picture) - box.y1, len(picture) - box.y0]
    left, right, top, bottom = map(round, edges)
    assert np.allclose([left, right, top, bottom], edges, atol=1e-6)  # whole pixels
    return picture[top:bottom, left:right]


def random_images(*shape):
    return torch.randint(256, shape, dtype=torch.uint8)


@pytest.mark.parametrize(("rows", "columns", "channels", "size"), [(3, 5, 1, 8), (2, 2, 3, 32), (10, 10, 1, 16)])
def test_each_pixel_is_a_square_and_images_are_two_pixels_apart(rows, columns, channels, size):
    panels = [Tiles(f"{i}", random_images(rows, columns, channels, size, size)) for i in range(3)]
    figure = tile_panels(panels, across=2)
    picture = rendered(figure)
    assert len(figure.axes) == 3
    for axis, panel in zip(figure.axes, panels, strict=True):
        shown = pixels_of(axis, picture)
        times, rest = divmod(shown.shape[1], columns * (size + 2) - 2)
        assert rest == 0 and shown.shape[0] == times * (rows * (size + 2) - 2)
        assert 0.2 <= times * size / 200 <= 0.55  # inches
        small = shown[::times, ::times]
        assert np.array_equal(shown, small.repeat(times, 0).repeat(times, 1))
        for i in range(rows):
            for j in range(columns):
                tile = small[i * (size + 2) :, j * (size + 2) :][:size, :size]
                assert np.array_equal(tile, panel.images[i, j].expand(3, -1, -1).permute(1, 2, 0).numpy())
        gaps = np.ones(small.shape[:2], dtype=bool)
        for i in range(rows):
            for j in range(columns):
                gaps[i * (size + 2) :, j * (size + 2) :][:size, :size] = False
        assert (small[gaps] == 255).all()


def texts_of(figure):
    return [text.get_text() for text in figure.texts]


def boxes_of(figure):
    rendered(figure)
    return [text.get_window_extent() for text in figure.texts]


@pytest.mark.parametrize("columns", [["1", "2", "3"], ["airplane", "$c^", "a very long automobile"], ["a", "", "_b"]])
def test_names_stand_outside_of_the_images_and_inside_of_the_figure(columns):
    rows = [
        "a small thick seven",
        "a sentence that is so long that it has to be broken into several lines of text " * 2,
    ]
    panels = [Tiles(title, random_images(2, 3, 1, 16, 16)) for title in ("fixed", "a $title$ that is long " * 3)]
    figure = tile_panels(panels, columns=columns, rows=rows)
    shown = texts_of(figure)
    assert {*columns, "a small thick seven"} <= {*shown} and shown.count(columns[0]) == 2
    assert "fixed" in shown and any("$title$" in text for text in shown)  # no text is read as a formula
    whole = figure.bbox
    images = [axis.get_window_extent() for axis in figure.axes]
    boxes = boxes_of(figure)
    first, second = [
        box for text, box in zip(figure.texts, boxes, strict=True) if text.get_text()[:7] in ("a small", "a sente")
    ]
    assert not first.overlaps(second)
    for text, box in zip(figure.texts, boxes, strict=True):
        if text.get_text().strip():
            assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= whole.width and box.y1 <= whole.height, text
            assert not any(box.shrunk(0.98, 0.9).overlaps(image) for image in images), text


@settings(max_examples=25, deadline=None)
@given(text=st.text(alphabet="abc $_^{}\\%", max_size=60), width=st.floats(0.3, 3))
def test_lines_fit_and_hold_all_words(text, width):
    lines = wrapped(text, 8, width)
    assert " ".join(lines).split() == text.split()
    assert all(width_of(line, 8) <= width or " " not in line for line in lines)


def test_points_are_drawn_in_the_colours_of_their_groups():
    places = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    points = Points(places, torch.tensor([0, 1, 2, 1]))
    names = [("true label", "x", "_y", "$z$")]
    figure = scatter_panels([[points, points]], titles=["one", "two"], rows=["codes"], names=names)
    assert {"one", "two", "codes"} <= {*texts_of(figure)}
    (legend,) = figure.legends
    assert legend.get_title().get_text() == "true label"
    assert [text.get_text() for text in legend.get_texts()] == [" x", " _y", " $z$"]
    for axis in figure.axes:
        assert len(axis.get_xticks()) == 0 and len(axis.get_yticks()) == 0
        (marks,) = axis.collections
        assert np.array_equal(marks.get_offsets(), places.numpy())
        hexadecimal = [
            f"#{''.join(f'{round(255 * part):02x}' for part in colour[:3])}" for colour in marks.get_facecolors()
        ]
        assert hexadecimal == [PALETTE[k] for k in (0, 1, 2, 1)]
    rendered(figure)


@pytest.mark.parametrize("groups", [10, 13])
def test_many_groups_have_two_markers_and_different_colours(groups):
    points = Points(torch.randn(groups, 2), torch.arange(groups))
    figure = scatter_panels([[points]], titles=["one"], rows=["codes"], names=[("k", *map(str, range(groups)))])
    circles, triangles = figure.axes[0].collections
    assert len(circles.get_offsets()) == (groups + 1) // 2
    colours = [tuple(colour) for marks in (circles, triangles) for colour in marks.get_facecolors()]
    assert len({*colours}) == groups


@pytest.mark.parametrize(
    ("panels", "names", "message"),
    [
        ([], {}, "a figure of images needs at least one panel; none was given"),
        ([Tiles("A", torch.zeros(2, 2, 1, 4, 4))], {}, "panel 'A' needs images uint8 [rows, columns, c, h, w]; got"),
        ([Tiles("A", random_images(2, 2, 4, 4))], {}, "[rows, columns, c, h, w]; got torch.uint8 [2, 2, 4, 4]"),
        ([Tiles("A", random_images(2, 2, 1, 4, 4))], {"columns": ["a"]}, "'A' has 2 columns, and 1 names were given"),
        ([Tiles("A", random_images(2, 2, 1, 4, 4))], {"rows": ["a"]}, "panel 'A' has 2 rows, and 1 names were given"),
    ],
)  # fmt: skip
def test_images_that_cannot_be_shown(panels, names, message):
    with pytest.raises(DataError) as caught:
        tile_panels(panels, **names)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("places", "groups", "message"),
    [
        (torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64), "needs at least one place [n, 2] of finite numbers"),
        (torch.full((3, 2), torch.nan), torch.zeros(3, dtype=torch.int64), "of finite numbers; got [3, 2]"),
        (torch.zeros(3, 2), torch.full((3,), 2), "a panel of 3 points in 2 groups needs a group from 0 to 1 for each"),
        (torch.zeros(3, 2), torch.zeros(2, dtype=torch.int64), "needs a group from 0 to 1 for each; got [2]"),
    ],
)
def test_points_that_cannot_be_shown(places, groups, message):
    with pytest.raises(DataError) as caught:
        scatter_panels([[Points(places, groups)]], titles=["a"], rows=["b"], names=[("k", "0", "1")])
    assert message in str(caught.value)


FLOWERS = ("bishop of llandaff", "love in the mist", "$1 rose_", "colt's foot", "stemless gentian")
"""Names of classes, some of them long."""


def names_of(groups, word=""):
    return [f"{word}{FLOWERS[k % len(FLOWERS)]} {k}" for k in range(groups)]


def extents(figure):
    """The boxes of legends and their texts, of the other texts, and of the panels, in pixels."""
    rendered(figure)
    legends = [each.get_window_extent() for each in figure.legends]
    words = [text.get_window_extent() for each in figure.legends for text in (each.get_title(), *each.get_texts())]
    return (
        legends,
        words,
        [text.get_window_extent() for text in figure.texts],
        [axis.get_window_extent() for axis in figure.axes],
    )


def panels_of(groups, lines, across):
    points = Points(torch.rand(groups, 2), torch.arange(groups))
    return [[points] * across for _ in range(lines)]


@pytest.mark.parametrize(
    ("groups", "same", "title"),
    [
        (1, True, "k"),
        (1, False, "requested category of the second kind"),
        (16, False, "k"),
        (30, False, "k"),
        (102, True, "requested category of the second kind"),
        (102, False, "k"),
        (300, True, "k"),
    ],
)
def test_legends_neither_overlap_nor_are_cut(groups, same, title):
    names = [("true label", *names_of(groups)), (title, *names_of(groups, "" if same else "no "))]
    long = "a learned prior of codes that are conditioned on " * 2
    figure = scatter_panels(panels_of(groups, 2, 2), titles=["one", long], rows=["images", "prior"], names=names)
    legends, words, texts, axes = extents(figure)
    assert len(legends) == (1 if same else 2)
    for box in (*legends, *words, *texts):
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.width and box.y1 <= figure.bbox.height
        assert not any(box.overlaps(axis) for axis in axes)
    for boxes in (legends, texts):
        assert not any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[:i])
    shrunk = [box.shrunk(0.99, 0.6) for box in words]  # a line of text is higher than its letters
    assert not any(one.overlaps(other) for i, one in enumerate(shrunk) for other in shrunk[:i])
    for legend, (_, *groups_names) in zip(figure.legends, names, strict=False):
        shown = [text.get_text().strip() for text in legend.get_texts()]
        if groups <= 30:
            assert shown == groups_names
        elif shown != groups_names:
            named = len(shown) - 1
            assert named > 20 and shown == [*groups_names[:named], f"... and {groups - named} more"]


def test_rows_of_the_same_names_share_a_legend_that_has_room_for_102():
    panels, named = panels_of(102, 2, 2), names_of(102)
    names = [("true label", *named), ("requested label", *named)]
    figure = scatter_panels(panels, titles=["one", "two"], rows=["images", "prior"], names=names)
    (legend,) = figure.legends
    assert legend.get_title().get_text() == "true label /\nrequested label"
    assert [text.get_text() for text in legend.get_texts()] == [f" {name}" for name in named]
    one = scatter_panels(panels, titles=["one", "two"], rows=["images", "prior"], names=[("label", *named)] * 2)
    assert one.legends[0].get_title().get_text() == "label"
