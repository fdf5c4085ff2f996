"""Structures: lists, tuples and dicts of things, nested in any way, as Keras' models take them.

The leaves are what is no list, tuple or dict. Those of a dict come in the order of its sorted
keys, as in Keras, so that two dicts with the same keys have the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from gpunet.errors import ArgumentError


def flatten(structure: Any) -> list[Any]:
    """The leaves of a structure.

    Raises:
        ArgumentError: a dict whose keys are no strings.

    Example:
        >>> flatten([1, {"b": 2, "a": (3, 4)}])
        [1, 3, 4, 2]
    """
    if isinstance(structure, Mapping):
        return [leaf for key in sorted_keys(structure) for leaf in flatten(structure[key])]
    if isinstance(structure, list | tuple):
        return [leaf for item in structure for leaf in flatten(item)]
    return [structure]


def packed(structure: Any, leaves: Sequence[Any]) -> Any:
    """The same structure with other leaves.

    Example:
        >>> packed([1, {"b": 2, "a": (3, 4)}], ["w", "x", "y", "z"])
        ['w', {'b': 'z', 'a': ('x', 'y')}]
    """
    return _filled(structure, iter(leaves))


def mapped(function: Callable[[Any], Any], structure: Any) -> Any:
    """The same structure with a function of each leaf in its place."""
    return packed(structure, [function(leaf) for leaf in flatten(structure)])


def sorted_keys(structure: Mapping[Any, Any]) -> list[str]:
    """The keys of a dict in order.

    Raises:
        ArgumentError: one of them is no string.
    """
    for key in structure:
        if not isinstance(key, str):
            raise ArgumentError(f"dicts of inputs and outputs have strings as keys, got {key!r}.")
    return sorted(structure)


def _filled(structure: Any, leaves: Iterator[Any]) -> Any:
    if isinstance(structure, Mapping):
        filled = {key: _filled(structure[key], leaves) for key in sorted_keys(structure)}
        return {key: filled[key] for key in structure}
    if isinstance(structure, list | tuple):
        items = [_filled(item, leaves) for item in structure]
        is_named = hasattr(structure, "_fields")  # a NamedTuple
        return type(structure)(*items) if is_named else type(structure)(items)
    return next(leaves)


class Form:
    """How a model was given its inputs, or its outputs, and what they are called.

    The name of one in a list is that of its layer, the name of one in a dict its key. Deeper down
    it stands behind the keys on the way: "aux/age".

    Args:
        structure: the structure, with anything for leaves.
        layers: the layer of each, whose ``label`` is its name.
        end: "input" or "output", for messages.
    """

    def __init__(self, structure: Any, layers: Iterable[Any], end: str) -> None:
        self.structure = structure
        self._layers = list(layers)
        self._end = end
        is_list = isinstance(structure, list | tuple) and len(structure) == 1
        self._is_one = not _is_container(structure[0] if is_list else structure)

    @property
    def names(self) -> list[str]:
        """The names of all, each of them once."""
        names: list[str] = []
        for name in _names(self.structure, (layer.label for layer in self._layers), ""):
            numbered = (name if k == 0 else f"{name}_{k}" for k in range(len(names) + 1))
            names.append(next(other for other in numbered if other not in names))
        return names

    def packed(self, values: Sequence[Any]) -> Any:
        """One value for each in this structure; the value itself in the place of a list of one."""
        return values[0] if self._is_one else packed(self.structure, values)

    def flat(self, given: Any, what: str) -> Any:
        """What was given in a nested structure as a flat list, with None for what is left out.

        A value for all, a flat list and a dict by names stay as they are.

        Args:
            given: the values.
            what: what they are, for messages: "y".

        Raises:
            ArgumentError: another structure, or keys that are none of this one's.
        """
        if not _is_nested(self.structure) or not _is_container(given):
            return given
        names = self.names
        by_name = isinstance(given, Mapping) and all(key in names for key in given)
        is_list = isinstance(given, list | tuple) and len(given) == len(names)
        if by_name or (is_list and len(given) != len(self.structure)):
            return given
        return self._leaves(self.structure, given, what)

    def _leaves(self, structure: Any, given: Any, what: str) -> list[Any]:
        """One value for each leaf of a part of the structure."""
        if given is None or not _is_container(structure):
            return [given] * len(flatten(structure))
        if isinstance(structure, Mapping) and isinstance(given, Mapping):
            keys = sorted_keys(structure)
            unknown = [key for key in given if key not in keys]
            if unknown:
                raise ArgumentError(
                    f"{what} has the key {unknown[0]!r} where the {self._end}s of the model have "
                    f"the keys {', '.join(keys)}."
                )
            pairs = [(structure[key], given.get(key)) for key in keys]
        elif (
            isinstance(structure, list | tuple)
            and isinstance(given, list | tuple)
            and len(given) == len(structure)
        ):
            pairs = list(zip(structure, given, strict=True))
        else:
            raise ArgumentError(
                f"{what} must have the structure of the {self._end}s of the model, "
                f"{packed(self.structure, self.names)}, got {_described(given)} in the place of "
                f"{_described(structure)}."
            )
        return [leaf for part, value in pairs for leaf in self._leaves(part, value, what)]


def _is_container(thing: Any) -> bool:
    return isinstance(thing, Mapping | list | tuple)


def _is_nested(structure: Any) -> bool:
    """Whether there are containers in it."""
    items = structure.values() if isinstance(structure, Mapping) else structure
    return _is_container(structure) and any(_is_container(item) for item in items)


def _names(structure: Any, labels: Iterator[str], path: str) -> Iterator[str]:
    """The names of the leaves of a part of a structure."""
    if isinstance(structure, Mapping):
        for key in sorted_keys(structure):
            if _is_container(structure[key]):
                yield from _names(structure[key], labels, f"{path}{key}/")
            else:
                next(labels)
                yield f"{path}{key}"
    elif isinstance(structure, list | tuple):
        for item in structure:
            yield from _names(item, labels, path)
    else:
        yield f"{path}{next(labels)}"


def _described(given: Any) -> str:
    """What was given, in a few words."""
    if isinstance(given, Mapping):
        return f"a dict with the keys {', '.join(map(str, given))}"
    return f"a list of {len(given)}" if _is_container(given) else f"one {type(given).__name__}"
