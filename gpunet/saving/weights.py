"""Weights in an .npz file: written completely or not at all, read without trusting it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from gpunet.errors import ArgumentError, DataUnavailable
from gpunet.layers.weights import read_parameter, write_parameters

if TYPE_CHECKING:
    from gpunet.engine.parameters import Parameter
    from gpunet.models import Model

_STATE = " (state)"
"""The end of the names of states in a file."""


def save_weights(model: Model, path: str | os.PathLike[str], overwrite: bool = True) -> None:
    """Save all weights under the names layer/weight.

    The file is written beside its place and then renamed, so that a crash leaves the old file or
    the new one and nothing in between.

    Args:
        model: a built model.
        path: the file, ending in .npz.
        overwrite: whether an existing file may be replaced.

    Raises:
        ArgumentError: another ending, or a file that exists and may not be replaced.
    """
    arrays = {name: read_parameter(p) for name, p in _named(model).items()}
    write_file(_checked(path), overwrite, lambda file: np.savez(file, **arrays))


def write_file(target: Path, overwrite: bool, write: Callable[[IO[bytes]], Any]) -> None:
    """Write a file beside its place and then rename it: it is there completely or not at all.

    Args:
        target: the file.
        overwrite: whether an existing file may be replaced.
        write: gets the open file.

    Raises:
        ArgumentError: a file that exists and may not be replaced, or a folder that does not exist.
    """
    if not target.parent.is_dir():
        raise ArgumentError(f"there is no folder {target.parent} to write {target.name} into.")
    if target.exists() and not overwrite:
        raise ArgumentError(f"{target} exists; pass overwrite=True to replace it.")
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


def load_weights(model: Model, path: str | os.PathLike[str]) -> None:
    """Load weights saved by `save_weights`; nothing changes if they do not fit.

    Args:
        model: a built model with the same layers.
        path: the file.

    Raises:
        DataUnavailable: there is no such file.
        ArgumentError: the file is damaged, or is no file of weights of this model.
        ShapeError: a weight has another shape.
    """
    target = _checked(path)
    try:
        # Opened here, because np.load forgets to close a file that turns out to be damaged.
        with open(target, "rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise DataUnavailable(f"there is no file {target} in {Path.cwd()} to load.") from None
    except Exception as error:  # noqa: BLE001 - a damaged file makes NumPy raise anything
        reason = str(error).rstrip(".") or type(error).__name__
        if "pickle" in reason:  # NumPy goes on with how to run what such a file holds
            reason = "it does not hold arrays of numbers"
        raise ArgumentError(f"{target} is no readable .npz file of weights: {reason}.") from None
    _write(model, arrays, target)


def _write(model: Model, arrays: Mapping[str, Any], target: Path) -> None:
    named = _named(model)
    missing = [name for name, p in named.items() if name not in arrays and not p.is_state]
    extra = [name for name in arrays if name not in named and not name.endswith(_STATE)]
    if missing or extra:
        raise ArgumentError(
            f"{target} does not belong to {model.name}: it lacks {', '.join(missing) or 'nothing'} "
            f"and has besides {', '.join(extra) or 'nothing'}."
        )
    # States are taken where they are of as many samples.
    fitting = {
        name: p
        for name, p in named.items()
        if not p.is_state or (name in arrays and arrays[name].shape == p.shape)
    }
    values = [arrays[name] for name in fitting]
    write_parameters(f"{model.name} (from {target})", list(fitting.values()), values)


def _named(model: Model) -> dict[str, Parameter]:
    """All weights, and what layers keep from batch to batch, by their names in the file."""
    paths = model.graph.paths
    return {
        f"{paths.get(p.layer, p.layer.label)}/{p.name}{_STATE if p.is_state else ''}": p
        for p in model.graph.parameters
    }


def _checked(path: str | os.PathLike[str]) -> Path:
    is_path = isinstance(path, str | os.PathLike)
    if not is_path or Path(path).suffix != ".npz":
        raise ArgumentError(
            "weights are saved in files that end in .npz, 'model.weights.npz' for example, got "
            f"{str(path) if is_path else path!r}."
        )
    return Path(path)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def _sync_folder(folder: Path) -> None:
    """Make the renaming itself durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
