"""The order of a graph's layers, and thereby of its weights, which is Keras'."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gpunet.engine.graph import Node, Tensor
    from gpunet.layers.base import Layer


def layers_as_in_keras(
    inputs: Sequence[Tensor], outputs: Sequence[Tensor], calls: Sequence[Node]
) -> list[Layer]:
    """The layers of a graph, InputLayers among them, by their distance from the outputs.

    The farthest stand first. The distance of a layer is the largest of its calls; layers of one
    distance stand in the order in which a walk from the outputs meets them. So ``set_weights``
    takes what Keras' ``get_weights`` gave, also where branches have different lengths.

    Args:
        inputs: where the walk ends.
        outputs: where it begins.
        calls: all calls in an order in which they can run.
    """
    met, distances = _met(inputs, outputs), dict.fromkeys(calls, 0)
    of_layers = {tensor.layer: 0 for tensor in inputs if tensor.node is None}
    for node in reversed(calls):
        distance = distances[node] = max(distances[node], of_layers.get(node.layer, 0))
        of_layers[node.layer] = distance
        for tensor in node.sources:
            if tensor.node is None:
                of_layers[tensor.layer] = max(of_layers[tensor.layer], distance + 1)
            elif tensor not in inputs:
                distances[tensor.node] = max(distances[tensor.node], distance + 1)
    return sorted(of_layers, key=lambda layer: (-of_layers[layer], met.get(layer, -1)))


def _met(inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> dict[Layer, int]:
    """The number of each layer in a walk, depth first (iterative: depth is no limit)."""
    numbers: dict[Layer, int] = {}
    seen: set[Node] = set()
    stack = list(reversed(outputs))
    while stack:
        tensor = stack.pop()
        node = tensor.node
        if node is None:
            numbers.setdefault(tensor.layer, len(numbers))
        elif node not in seen and tensor not in inputs:
            seen.add(node)
            numbers.setdefault(node.layer, len(numbers))
            stack.extend(reversed(node.sources))
    return numbers
