"""String identifiers as Keras takes them: ``"glorot_uniform"`` is ``"GlorotUniform"``."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import TypeVar

from gpunet.arguments import shown
from gpunet.errors import ArgumentError

T = TypeVar("T")

_WORD = r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z0-9])(?=[A-Z][a-z])"  # p_re_lu is Keras' name of PReLU


def _plain(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()


def lookup(identifier: str, table: Mapping[str, T], kind: str) -> T:
    """Find an entry by its name, whatever the case and with or without underscores.

    Args:
        identifier: the name to find, for example ``"glorot_uniform"`` or ``"GlorotUniform"``.
        table: known names and what they stand for.
        kind: what the table holds, for the message: ``"initializer"``.

    Returns:
        The entry of the table.

    Raises:
        ArgumentError: the name is unknown or no string; the message lists the known ones.

    Example:
        >>> lookup("HeNormal", {"he_normal": 1, "zeros": 2}, "initializer")
        1
    """
    names = {_plain(name): name for name in table}
    known = ", ".join(sorted(table))
    if not isinstance(identifier, str):
        raise ArgumentError(f"The {kind} must be one of {known}, got {shown(identifier)}.")
    wanted = _plain(identifier)
    if wanted in names:
        return table[names[wanted]]
    close = difflib.get_close_matches(wanted, names, n=1)
    hint = f"did you mean '{names[close[0]]}'; " if close else ""
    raise ArgumentError(f"Unknown {kind} '{identifier}': {hint}the known ones are {known}.")


def snake_case(name: str) -> str:
    """The name of a class as Keras names its objects: "conv2d_transpose".

    Example:
        >>> snake_case("GlobalMaxPooling2D")
        'global_max_pooling2d'
    """
    return re.sub(_WORD, "_", name).lower()
