"""The values of weights: where they are, and how they are read and set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpunet.engine.data import as_numbers
from gpunet.engine.parameters import Block, Parameter
from gpunet.errors import ArgumentError, ShapeError, UsageError


class Weighted:
    """What layers and models tell of their weights."""

    def weight_parameters(self) -> list[Parameter]:
        """The weights, in their order."""
        raise NotImplementedError

    @property
    def _called(self) -> str:
        """What messages call it."""
        raise NotImplementedError

    @property
    def weights(self) -> list[Any]:
        """Copies of the weights as NumPy arrays."""
        return self.get_weights()

    @property
    def trainable_weights(self) -> list[Any]:
        """Copies of the weights that the optimizer may change."""
        return [read_parameter(p) for p in self.weight_parameters() if p.is_trainable]

    @property
    def non_trainable_weights(self) -> list[Any]:
        """Copies of the weights that the optimizer leaves as they are."""
        return [read_parameter(p) for p in self.weight_parameters() if not p.is_trainable]

    def get_weights(self) -> list[Any]:
        """Copies of the weights as NumPy arrays: of a layer in the order in which build made them,
        of a model in the order of its layers."""  # noqa: D205, D209
        return [read_parameter(parameter) for parameter in self.weight_parameters()]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Set the weights; nothing changes if one of them does not fit.

        Raises:
            ShapeError: a wrong number or shape.
        """
        write_parameters(self._called, self.weight_parameters(), weights)

    def count_params(self) -> int:
        """The number of elements of all weights."""
        return sum(parameter.size for parameter in self.weight_parameters())


def weights_of(parameters: Sequence[Parameter]) -> list[Parameter]:
    """Those of the parameters that are weights, and not kept from batch to batch."""
    return [parameter for parameter in parameters if not parameter.is_state]


def read_parameter(parameter: Parameter) -> Any:
    """A copy of a weight as a NumPy array."""
    block = block_of(parameter)
    return block.backend.to_numpy(block.value(parameter))


def block_of(parameter: Parameter) -> Block:
    """The block of a parameter of a model.

    Raises:
        UsageError: no model has been made of its layer yet.
    """
    if parameter.block is None:
        raise UsageError(
            f"weight {parameter.name!r} has no values yet; make a model of its layer first."
        )
    return parameter.block


def write_parameters(where: str, parameters: Sequence[Parameter], values: Sequence[Any]) -> None:
    """Copy values into parameters, all or none of them.

    Raises:
        ShapeError: a wrong number of values or a wrong shape.
        DtypeError: values that are no numbers.
        ArgumentError: not a list.
    """
    if not isinstance(values, list | tuple):
        raise ArgumentError(f"{where} takes a list of arrays, got {type(values).__name__}.")
    if len(values) != len(parameters):
        raise ShapeError(f"{where} has {len(parameters)} weights, got {len(values)}.")
    arrays = []
    for parameter, value in zip(parameters, values, strict=True):
        array = as_numbers(value, f"the value of weight {parameter.name!r} of {where}")
        if array.shape != parameter.shape:
            raise ShapeError(
                f"weight {parameter.name!r} of {where} has shape {parameter.shape}, "
                f"got {array.shape}."
            )
        arrays.append(array)
    for parameter, array in zip(parameters, arrays, strict=True):
        block = block_of(parameter)
        block.backend.write(block.value(parameter), array)
