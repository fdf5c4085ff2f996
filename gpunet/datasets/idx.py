"""Data sets in the layout of MNIST: four IDX files in a folder, or Keras' one .npz file.

IDX (LeCun, "The MNIST database") is a big-endian header, two zero bytes, the element type (8:
unsigned byte), the number of dimensions and each size in 32 bits, and then the elements.
"""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeAlias, cast

import numpy as np

from gpunet.errors import ArgumentError, DataUnavailable

if TYPE_CHECKING:
    from numpy.typing import NDArray

Bytes: TypeAlias = "NDArray[np.uint8]"
Split: TypeAlias = tuple[tuple[Bytes, Bytes], tuple[Bytes, Bytes]]

_SIDE = 28
_CLASSES = 10
_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
_MAGIC_NUMBERS = (b"\x00\x00\x08\x01", b"\x00\x00\x08\x03")  # bytes in 1 or 3 dimensions
_NPZ_ARRAYS = ("x_train", "y_train", "x_test", "y_test")
_SYSTEM = Path("/usr/share/datasets")
_CHUNK = 1 << 20


def load(name: str, title: str, path: str | os.PathLike[str] | None, hint: str) -> Split:
    """Load 28 x 28 images of ten classes from where they lie on this machine.

    Args:
        name: what folders and files of the data set are called.
        title: its name in messages.
        path: a folder with the four IDX files (plain or .gz) or an .npz file; without one
            ``$GPUNET_DATA/<name>``, ``/usr/share/datasets/<name>`` and Keras' cache are searched.
        hint: how to get the data, for the message when there are none.

    Returns:
        ``(x_train, y_train), (x_test, y_test)``, all uint8.

    Raises:
        DataUnavailable: there are no such files.
        ArgumentError: a file is malformed.
    """
    places = list(_places(name)) if path is None else [Path(path), _keras_cache() / path]
    for place in places:
        if place.is_file():
            return _checked(read_npz(place), place)
        files = [_find_file(place, stem) for stem in _FILES]
        if None not in files:
            arrays = [read_idx(cast(Path, file)) for file in files]
            return _checked(arrays, place)
    looked = ", ".join(f"'{place}'" for place in (places if path is None else places[:1]))
    raise DataUnavailable(
        f"{title} was not found in {looked}: {hint}put the four files {', '.join(_FILES)} (plain"
        " or .gz) into a folder and pass it as path."
    )


def read_idx(path: Path) -> Bytes:
    """Read one IDX file of unsigned bytes, plain or compressed by gzip (.gz).

    Raises:
        ArgumentError: the file is malformed: wrong magic number, truncated, too long, bad gzip.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            magic = _read(file, 4, path)
            if magic not in _MAGIC_NUMBERS:
                raise _malformed(
                    path, f"its magic number is {magic.hex()}, not 00000801 or 00000803"
                )
            shape = struct.unpack(f">{magic[3]}I", _read(file, 4 * magic[3], path))
            values = _read(file, math.prod(shape), path)
            if file.read(1):
                raise _malformed(path, f"it goes on after the {len(values)} bytes of {shape}")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _malformed(path, f"its compression is broken ({error})") from error
    return np.frombuffer(values, np.uint8).reshape(shape)


def read_npz(path: Path) -> list[Bytes]:
    """Read Keras' mnist.npz; the arrays may not be pickles.

    Raises:
        ArgumentError: the file is malformed or lacks one of the four arrays.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return [np.asarray(arrays[name]) for name in _NPZ_ARRAYS]
    except Exception as error:  # NumPy's parser lets errors of a dozen kinds out
        kind = type(error).__name__
        raise _malformed(path, f"it is no .npz with {', '.join(_NPZ_ARRAYS)} ({kind})") from error


def _places(name: str) -> Iterator[Path]:
    if own := os.environ.get("GPUNET_DATA"):
        yield Path(own) / name
    yield _SYSTEM / name
    yield _keras_cache() / f"{name}.npz"
    yield _keras_cache() / name


def _keras_cache() -> Path:
    return Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser() / "datasets"


def _find_file(folder: Path, stem: str) -> Path | None:
    candidates = (folder / f"{stem}.gz", folder / stem)
    return next((path for path in candidates if path.is_file()), None)


def _read(file: BinaryIO | gzip.GzipFile, count: int, path: Path) -> bytearray:
    """Exactly so many bytes; in pieces, since a hostile header may declare any size."""
    values = bytearray()
    while missing := count - len(values):
        piece = file.read(min(missing, _CHUNK))
        if not piece:
            raise _malformed(path, f"it is truncated: {missing} of {count} bytes are missing")
        values += piece
    return values


def _checked(arrays: list[Bytes], place: Path) -> Split:
    x_train, y_train, x_test, y_test = arrays
    for images, labels in ((x_train, y_train), (x_test, y_test)):
        if images.dtype != np.uint8 or images.ndim != 3 or images.shape[1:] != (_SIDE, _SIDE):
            got = f"{images.dtype} {images.shape}"
            raise _malformed(place, f"its images are {got}, not uint8 (n, {_SIDE}, {_SIDE})")
        if labels.dtype != np.uint8 or labels.shape != images.shape[:1]:
            got = f"{labels.dtype} {labels.shape}"
            raise _malformed(
                place, f"its labels are {got}, not one uint8 per image of {len(images)}"
            )
        if labels.size and labels.max() >= _CLASSES:
            raise _malformed(place, f"it has the label {labels.max()}, beyond {_CLASSES - 1}")
    return (x_train, y_train), (x_test, y_test)


def _malformed(path: Path, what: str) -> ArgumentError:
    return ArgumentError(f"The data in '{path}' cannot be used, {what}: get them anew.")
