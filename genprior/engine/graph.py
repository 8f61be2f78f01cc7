"""A model as one graph of tensors: random numbers and a condition in, images out, for any number of images.

Parts ask for the number of images with `len`, which is a number and not a symbol, so that a tracer would write the size
of its batch into the graph. The computation is therefore traced at two sizes: numbers in which the two graphs differ
are those that depend on the size, and are replaced by a multiple of it.
"""

from __future__ import annotations

import operator
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx

from genprior.engine.random_inputs import Drawing, GivenNumbers, counted
from genprior.engine.sampling import evaluating
from genprior.errors import PlanError, in_a_sentence
from genprior.parts import AutoregressiveDecoder, Condition, Model, Part
from genprior.randomness import seeded

__all__ = ["ModelGraph", "model_graph"]

_SIZES = (5, 7)
"""The numbers of images of the two traces."""
_MOST = 2**16
"""Random numbers for an image, at most."""
_EQUAL = 1e-4
"""How far images of the graph may be from those of the model."""


class ModelGraph(NamedTuple):
    """A graph of a model."""

    module: fx.GraphModule
    """Takes the inputs in their order, and returns images [n, c, h, w] in [-1, 1]."""
    inputs: dict[str, str]
    """What each input is, by its name."""
    draw: Callable[[int, int], tuple[Tensor, ...]]
    """Inputs for n images, drawn under a seed: `draw(n, seed)`."""
    compute: Callable[..., Tensor]
    """The images of the model itself for such inputs."""


def model_graph(model: Model, *, code: bool = False) -> ModelGraph:
    """The graph in which a model makes images, with every random number as an input.

    Args:
        model: on the host; it is left as it is.
        code: whether the graph begins at a code, which is its input, and has the decoder alone.

    Raises:
        PlanError: there is no such graph; the message names the part and the reason.
    """
    if not model.makes_images:
        raise _refused(model, "it makes no images", code)
    slow = next((part for part in model.children() if isinstance(part, AutoregressiveDecoder)), None)
    if slow is not None:
        raise _refused(slow, "it draws an image pixel by pixel, each from the ones before", code)
    compute = _Computation(model, code)
    try:
        with evaluating(model), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch, about what it traces
            compute.settle()
            module = _for_any_size(*(_traced(compute, n) for n in _SIZES))
            _compare(module, compute)
    except PlanError as error:
        culprit = model.code_prior if not code and model.code_prior is not None else model
        raise _refused(culprit, in_a_sentence(error), code) from error
    except (RuntimeError, ValueError, TypeError, NotImplementedError) as error:
        raise _refused(model, f"torch cannot trace it: {in_a_sentence(str(error)[:300])}", code) from error
    return ModelGraph(module, compute.inputs, compute.draw, compute)


def _refused(part: Part, reason: str, code: bool) -> PlanError:
    what = f"{part.kind} '{part.name}' cannot be part of a graph with fixed inputs: {reason}. "
    if isinstance(part, AutoregressiveDecoder | Model) or code:
        return PlanError(
            f"{what}Models that decode a code in one pass can be exported as a graph; this one can be exported as a "
            "folder, with --to FOLDER"
        )
    return PlanError(
        f"{what}Its decoder can be exported alone, with the code as input (--input code), and the whole run as a "
        "folder (--to FOLDER)"
    )


class _Computation:
    """The images of a model as a function of random numbers and a condition."""

    def __init__(self, model: Model, code: bool) -> None:
        """Hold the model; `settle` finds the inputs."""
        self._model = model
        self._code = code
        self._kind, self._number = model.asks
        self._width = 0
        self._drawing = Drawing((), (), _SIZES)
        self.inputs: dict[str, str] = {}

    def settle(self) -> None:
        """Find the inputs.

        Raises:
            PlanError: there is no decoder of codes, or random numbers cannot be inputs.
        """
        if self._code:
            with seeded(0, "graph"):
                condition = self._condition(2, self._asked(2))
                drawn = self._model.draw_codes(condition)
                if drawn is None or self._model.decode(drawn, condition) is None:
                    raise PlanError("it has no decoder of codes")
            self._width = drawn.shape[1]
        self._drawing = counted(lambda n: self._images(n, self._codes(n, torch.zeros), self._asked(n)), _SIZES)
        normal, uniform = self._drawing.widths["noise"], self._drawing.widths["uniform_noise"]
        if normal + uniform > _MOST:
            raise PlanError(f"it needs {normal + uniform:,} random numbers for each image, and {_MOST:,} are possible")
        if self._code:
            self.inputs["code"] = f"codes, float32 [n, {self._width}]"
        if normal:
            self.inputs["noise"] = f"standard normal numbers, float32 [n, {normal}]"
        if uniform:
            self.inputs["uniform_noise"] = f"numbers drawn uniformly from [0, 1), float32 [n, {uniform}]"
        for asked in self._asked(1):
            if self._kind == "text":
                self.inputs["text"] = f"the vectors of sentences, float32 [n, {asked.shape[1]}]"
            else:
                self.inputs[self._kind] = f"the {self._kind} of each image, int64 [n], 0 to {self._number - 1}"
        if not self.inputs:
            raise PlanError("it draws no random number, so that all images are the same")

    def draw(self, n: int, seed: int) -> tuple[Tensor, ...]:
        """Inputs for n images, in their order."""
        with seeded(seed, "graph"):
            widths = self._drawing.widths
            given = [*self._codes(n)]
            given += [torch.randn(n, widths["noise"])] if widths["noise"] else []
            given += [torch.rand(n, widths["uniform_noise"])] if widths["uniform_noise"] else []
        return (*given, *self._asked(n))

    def __call__(self, *given: Tensor) -> Tensor:
        """The images [n, c, h, w] of such inputs."""
        values = dict(zip(self.inputs, given, strict=True))
        n = len(given[0])
        normal, uniform = values.get("noise"), values.get("uniform_noise")
        with evaluating(self._model), GivenNumbers(n, self._drawing, normal=normal, uniform=uniform):
            codes = [values["code"]] if self._code else []
            return self._images(n, codes, [values[k] for k in (self._kind,) if k in values])

    def _images(self, n: int, codes: Sequence[Tensor], asked: Sequence[Tensor]) -> Tensor:
        condition = self._condition(n, asked)
        images = self._model.decode(codes[0], condition) if codes else self._model.generate(condition)
        if images is None:
            raise PlanError("it has no decoder of codes")
        return images

    def _codes(self, n: int, make: Callable[..., Tensor] = torch.randn) -> tuple[Tensor, ...]:
        return (make(n, self._width),) if self._code else ()

    def _asked(self, n: int) -> tuple[Tensor, ...]:
        """Labels, categories or vectors of sentences for n images; none where the model takes none."""
        if self._kind == "text" and self._model.embedder is not None:
            words = ("a", "red", "seven", "on", "white")
            return (self._model.embedder.embed([words[i % len(words)] for i in range(n)]).float(),)
        return (torch.arange(n) % max(1, self._number),) if self._kind in ("label", "category") else ()

    def _condition(self, n: int, asked: Sequence[Tensor]) -> Condition:
        if self._kind == "text" and asked:
            return self._model.condition_on_text(asked[0])
        return self._model.condition(torch.zeros(n), asked[0] if asked else None)


def _traced(compute: _Computation, n: int) -> fx.GraphModule:
    module: fx.GraphModule = make_fx(compute, decomposition_table=_INSTEAD)(*compute.draw(n, 0))
    return module


def _places(boundaries: Tensor, values: Tensor, *, right: bool = False, side: str | None = None, **_: Any) -> Tensor:
    """`torch.searchsorted` as a sum, which ONNX has: how many boundaries [.., K] lie below each value [.., m]."""
    inner = boundaries.unsqueeze(-2)
    below = inner <= values.unsqueeze(-1) if right or side == "right" else inner < values.unsqueeze(-1)
    return below.sum(-1)


_INSTEAD: dict[Any, Callable[..., Any]] = {torch.ops.aten.searchsorted.Tensor: _places}


def _for_any_size(one: fx.GraphModule, other: fx.GraphModule) -> fx.GraphModule:
    """A graph for any number of images, from the graphs for `_SIZES` images.

    Raises:
        PlanError: the operations depend on the number of images.
    """
    nodes, others = list(one.graph.nodes), list(other.graph.nodes)
    if [(a.op, a.target) for a in nodes if a.op != "get_attr"] != [
        (b.op, b.target) for b in others if b.op != "get_attr"
    ]:
        raise PlanError("its operations depend on the number of images, as of a loop over them")
    first = next(node for node in nodes if node.op == "placeholder")
    last = [node for node in nodes if node.op == "placeholder"][-1]
    with one.graph.inserting_after(last):
        size = one.graph.call_function(torch.ops.aten.sym_size.int, (first, 0))
    multiples: dict[tuple[int, int], fx.Node] = {}

    def general(a: Any, b: Any) -> Any:
        if isinstance(a, fx.Node):
            return a
        if isinstance(a, list | tuple):
            return type(a)(general(x, y) for x, y in zip(a, b, strict=True))
        if not isinstance(a, int) or isinstance(a, bool) or a == b:
            if a != b:
                raise PlanError("its operations depend on the number of images")
            return a
        factor, rest = divmod(b - a, _SIZES[1] - _SIZES[0])
        offset = a - factor * _SIZES[0]
        if rest:
            raise PlanError("its sizes are no multiples of the number of images")
        if (factor, offset) not in multiples:
            with one.graph.inserting_after(size):
                node = size if factor == 1 else one.graph.call_function(operator.mul, (size, factor))
            if offset:
                with one.graph.inserting_after(node):
                    node = one.graph.call_function(operator.add, (node, offset))
            multiples[factor, offset] = node
        return multiples[factor, offset]

    for a, b in zip(nodes, others, strict=True):
        a.args = general(a.args, b.args)
        a.kwargs = {key: general(value, b.kwargs[key]) for key, value in a.kwargs.items()}
    _without_pieces(one.graph)
    _computed_once(one)
    one.graph.lint()
    one.recompile()
    return one


def _without_pieces(graph: fx.Graph) -> None:
    """Undo a split of the batch into pieces, made to save memory, of which the traces have one."""
    for node in list(graph.nodes):
        if node.target is torch.ops.aten.split.Tensor and all(
            user.target is operator.getitem and user.args[1] == 0 for user in node.users
        ):
            chunk, whole = node.args[1], node.args[0]
            for user in list(node.users):
                if isinstance(chunk, int) and chunk >= whole.meta["val"].shape[0]:
                    user.replace_all_uses_with(whole)
                    graph.erase_node(user)
            if not node.users:
                graph.erase_node(node)


def _computed_once(module: fx.GraphModule) -> None:
    """Replace what depends on the weights alone, such as the posteriors of pseudo-inputs, by its value."""
    graph = module.graph
    changing: set[fx.Node] = set()
    """What is written to, or is a view of it."""
    for node in graph.nodes:
        target = node.target
        if isinstance(target, torch._ops.OpOverload) and target._schema.is_mutable:
            written = node
            while isinstance(written, fx.Node):
                changing.add(written)
                written = written.args[0] if written.args else None
    values: dict[fx.Node, Any] = {}
    for node in graph.nodes:
        if node.op == "get_attr":
            values[node] = getattr(module, str(node.target))
        elif node.op == "call_function" and node not in changing and all(n in values for n in node.all_input_nodes):
            with torch.no_grad():
                values[node] = node.target(*fx.map_arg(node.args, values.get), **fx.map_arg(node.kwargs, values.get))
    for number, (node, value) in enumerate(values.items()):
        if node.op == "call_function" and isinstance(value, Tensor) and any(u not in values for u in node.users):
            module.register_buffer(f"constant_{number}", value.detach().clone())
            with graph.inserting_before(node):
                node.replace_all_uses_with(graph.get_attr(f"constant_{number}"))
    graph.eliminate_dead_code()


def _compare(module: fx.GraphModule, compute: _Computation) -> None:
    """Check that the graph makes the images of the model for numbers that it was not traced with.

    Raises:
        PlanError: it does not.
    """
    for seed, n in enumerate((1, 2, 3, 24), 1):
        given = compute.draw(n, seed)
        images, made = compute(*given), module(*given)
        if images.shape != made.shape or not bool((images - made).abs().max() <= _EQUAL):
            raise PlanError("what it computes depends on its values, or on the number of images, in another way")
