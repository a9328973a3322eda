"""Which layers of a graph lie before and behind each other: where Q/DQ pairs belong, and where not."""

from collections.abc import Callable, Collection, Iterator, Sequence

import onnx

_PASSING = frozenset(
    (
        *("Add", "AveragePool", "Clip", "Concat", "Dropout", "GlobalAveragePool", "HardSwish", "Identity"),
        *("LeakyRelu", "MaxPool", "Mul", "PRelu", "Relu", "Resize", "Sigmoid", "Swish", "Transpose", "Upsample"),
    )
)
"""What features flow through between two layers. Behind anything else they are numbers of another kind."""
_BOUNDING = frozenset({"Clip", "Relu"})
"""They cut off, and leave the rest as it is."""

Step = Callable[[onnx.NodeProto], Iterator[onnx.NodeProto]]


class Branches:
    """The layers of a graph by name, and what connects them.

    Args:
        graph: each of its nodes has a name of its own.
        operators: the types of those that are layers.
    """

    def __init__(self, graph: onnx.GraphProto, operators: Collection[str]) -> None:
        self._nodes = {node.name: node for node in graph.node}
        self._maker = {output: node for node in graph.node for output in node.output}
        self._readers: dict[str, list[onnx.NodeProto]] = {}
        for node in graph.node:
            for name in set(node.input):
                self._readers.setdefault(name, []).append(node)
        self._results = {each.name for each in graph.output}
        weights = {each.name for each in graph.initializer if each.data_type == onnx.TensorProto.FLOAT}
        self.layers = tuple(
            node.name
            for node in graph.node
            # A product of two activations has no weights that could be int8.
            if node.op_type in operators and node.input[1] in weights
        )
        """In the order of the graph."""

    @property
    def ends(self) -> tuple[str, ...]:
        """Layers that no other layer comes before, and those that none comes behind."""
        layers = set(self.layers)
        ends = {layer for layer in layers if not (self._all(layer, self._before) & layers)}
        ends |= {layer for layer in layers if not (self._all(layer, self._behind) & layers)}
        return tuple(layer for layer in self.layers if layer in ends)

    @property
    def tensors(self) -> tuple[str, ...]:
        """All that pairs may stand on: what layers and their joins read and give, and that behind a bound."""
        nodes = [self._nodes[name] for name in (*self.layers, *self.joins(self.layers))]
        around = [name for node in nodes for name in (node.input[0], *self._second(node), node.output[0])]
        return tuple(dict.fromkeys([*around, *(self.bounded[name] for name in around if name in self.bounded)]))

    @property
    def bounded(self) -> dict[str, str]:
        """What goes into a Relu or Clip and nowhere else -> what comes out."""
        found = {}
        for node in self._nodes.values():
            if node.op_type in _BOUNDING and self._alone(node.input[0]):
                found[node.input[0]] = node.output[0]
        return found

    def joins(self, layers: Sequence[str]) -> tuple[str, ...]:
        """Every Add of two branches, each of which comes from some of these layers, and which one of them reads."""
        heavy = set(layers)
        return tuple(
            node.name
            for node in self._nodes.values()
            if node.op_type == "Add"
            and all(self._comes_from(name, heavy) for name in node.input)
            and self._goes_to(node, heavy)
        )

    def is_joined(self, tensor: str) -> bool:
        """Whether a Concat gives a tensor, with a bound behind it or without."""
        node = self._maker.get(tensor)
        if node is not None and node.op_type in _BOUNDING:
            node = self._maker.get(node.input[0])
        return node is not None and node.op_type == "Concat"

    def closed(self, quantized: Collection[str], exact: Collection[str]) -> set[str]:
        """Results of quantized nodes that may end in int8: nothing but bounds and quantized nodes reads them.

        Args:
            exact: layers that are in float because int8 would harm them: what they read stays in float too.
        """
        chosen = set(quantized)
        results = {self._nodes[name].output[0] for name in chosen} - self._results
        return {result for result in results if all(self._may_end(each, chosen, exact) for each in self._of(result))}

    def _may_end(self, reader: onnx.NodeProto, chosen: Collection[str], exact: Collection[str]) -> bool:
        if reader.op_type in _BOUNDING:
            return not any(each.name in exact for each in self._of(reader.output[0]))
        return reader.name in chosen

    def _of(self, tensor: str) -> list[onnx.NodeProto]:
        """What reads a tensor."""
        return self._readers.get(tensor, [])

    def _second(self, node: onnx.NodeProto) -> Iterator[str]:
        if node.op_type == "Add":
            yield node.input[1]

    def _alone(self, name: str) -> bool:
        return len(self._of(name)) == 1 and name not in self._results

    def _before(self, node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
        return (self._maker[name] for name in node.input if name in self._maker)

    def _behind(self, node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
        return (each for name in node.output for each in self._of(name))

    def _all(self, layer: str, step: Step) -> set[str]:
        """The names of all nodes on one side of a layer."""
        seen: set[str] = set()
        waiting = list(step(self._nodes[layer]))
        while waiting:
            node = waiting.pop()
            if node.name not in seen:
                seen.add(node.name)
                waiting += step(node)
        return seen

    def _comes_from(self, name: str, heavy: Collection[str]) -> bool:
        """Whether all that flows into a tensor comes out of layers, through nothing but what features flow through."""
        node = self._maker.get(name)
        if node is None:
            return False
        if node.name in heavy:
            return True
        if node.op_type not in _PASSING:
            return False
        flows = node.input if node.op_type in ("Add", "Concat", "Mul") else node.input[:1]
        return all(self._comes_from(each, heavy) for each in flows)

    def _goes_to(self, node: onnx.NodeProto, heavy: Collection[str]) -> bool:
        """Whether a layer reads what a node gives, through nothing but what features flow through."""
        return any(
            each.name in heavy or (each.op_type in _PASSING and self._goes_to(each, heavy))
            for each in self._behind(node)
        )
