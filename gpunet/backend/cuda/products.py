"""Who computes a matrix product on the GPU: cuBLAS, or gpunet's own kernel.

The own kernel (kernels/gemm.cu) does what follows a product in the same launch and knows every
shape; cuBLAS is faster where the factors are large, and has tensor cores. Both are right
everywhere, so that the choice is one of speed: by size, unless ``python -m gpunet doctor`` has
measured this device and left its findings in the user's cache.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import itertools
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gpunet.backend.cuda.capture import capture
from gpunet.backend.cuda.cublas import Cublas
from gpunet.backend.cuda.kernels import flattened
from gpunet.backend.precision import factor_precision
from gpunet.errors import GpunetError, warn

OWN, CUBLAS = "own", "cublas"
OPS = ("gemm", "gemm_bias_act", "gemm_act_backward", "gemm_column_sum")
SIZES = {"small": 32, "medium": 256, "large": 2048}
"""The classes of m, n and k, and the size at which a class is measured. They meet at the geometric
mean, 90 and 724."""
# Without measurements: multiply-adds from which on cuBLAS is preferred, a guess. Below, launches
# take longer than the product, and the own kernel needs one launch less for a dense layer.
_LARGE = {"ieee": 2**23, "tf32": 2**20}


class Products:
    """The choice between cuBLAS and the own kernel, and cuBLAS once it has passed its test.

    cuBLAS is loaded by the first product, and with it what was measured for this device.

    Args:
        cp: CuPy, or a module with the same interface.
        load: loads libcublas; None to do without.

    Attributes:
        only: "own" or "cublas" to leave no choice; None otherwise.
        measured: "own" or "cublas" by `key`, from the cache.
    """

    def __init__(self, cp: Any, load: Callable[[], ctypes.CDLL] | None) -> None:
        self._cp, self._load = cp, load
        self._cublas: Cublas | None = None
        self.only: str | None = None if load else OWN
        self.measured: Mapping[str, str] = {}

    def cublas_for(self, op: str, dtype: Any, m: int, n: int, k: int) -> Cublas | None:
        """cuBLAS if it is to compute this product, else None.

        Args:
            op: one of `OPS`.
            dtype: of the factors.
            m: rows of the product.
            n: columns of the product.
            k: the length of its sums.
        """
        if self.only == OWN or m * n * k == 0:  # with k = 0 the own kernel writes zeros
            return None
        if self._cublas is None and not self._start():
            return None
        if self.only == CUBLAS:
            return self._cublas
        precision = factor_precision() if dtype == np.float32 else "ieee"
        choice = self.measured.get(key(op, dtype, precision, m, n, k))
        if choice is None:
            fast = precision == "tf32" or dtype != np.float32
            choice = CUBLAS if m * n * k >= _LARGE["tf32" if fast else "ieee"] else OWN
        return self._cublas if choice == CUBLAS else None

    def start(self) -> Cublas:
        """Load cuBLAS, if that has not been done, and test it.

        Raises:
            GpunetError: it cannot be loaded, or computes something wrong.
        """
        if self._cublas is None:
            if self._load is None:
                raise GpunetError("this device does without cuBLAS.")
            cublas = Cublas(self._cp, self._load())
            self_test(self._cp, cublas)
            self.measured = read_measured(self.identity(cublas))
            self._cublas = cublas
        return self._cublas

    def _start(self) -> bool:
        """Start cuBLAS; if it does not work, say so once and do without."""
        try:
            self.start()
        except Exception as error:  # noqa: BLE001 - CuPy and the driver raise types of their own
            self.only = OWN
            reason = str(error).partition("\n")[0] or type(error).__name__
            warn(f"cuBLAS is not used, products run on gpunet's own kernel: {reason}")
        return self.only != OWN

    def identity(self, cublas: Cublas) -> dict[str, Any]:
        """What a measurement holds for: this device, this cuBLAS and these kernels."""
        runtime = self._cp.cuda.runtime
        properties = runtime.getDeviceProperties(runtime.getDevice())
        name = properties["name"]
        return {
            "device": name.decode() if isinstance(name, bytes) else str(name),
            "multiprocessors": int(properties["multiProcessorCount"]),
            "cublas": cublas.version,
            "kernel": hashlib.sha256(flattened("gemm").encode()).hexdigest()[:16],
        }


def key(op: str, dtype: Any, precision: str, m: int, n: int, k: int) -> str:
    """What `Products.measured` knows a product by: "gemm float32 ieee small-medium-large"."""
    return f"{op} {dtype} {precision} {'-'.join(map(size_class, (m, n, k)))}"


def size_class(size: int) -> str:
    """The class of one size: the one of `SIZES` that it is nearest to, as a ratio."""
    names = tuple(SIZES)
    for name, larger in itertools.pairwise(names):
        if size * size <= SIZES[name] * SIZES[larger]:
            return name
    return names[-1]


# ------------------------------------------------------------------------------ the test

_SHAPES = ((1, 1, 1), (5, 7, 3), (33, 31, 17), (64, 128, 96))
_STACK = 3
_ALLOWED = 1e-5  # of 1 + |c|: float32 with sums of at most 128 numbers


_CAPTURED = ((64, 128, 96), (32, 32, 4096))  # the second's sums are worth several blocks


def self_test(cp: Any, cublas: Cublas) -> None:
    """Compute a few products: all transposes, odd sizes, stacks, with and without adding.

    Then a few in a graph, which training makes of its steps: there cuBLAS may not do everything.

    Raises:
        KernelError: cuBLAS refuses one.
        GpunetError: one comes out wrong.
    """
    random = np.random.default_rng(0)
    flags = (False, True)
    for (m, n, k), stack, ta, tb, adds in itertools.product(
        _SHAPES, ((), (_STACK,)), flags, flags, flags
    ):
        a = random.standard_normal((*stack, *((k, m) if ta else (m, k))), np.float32)
        b = random.standard_normal((*stack, *((n, k) if tb else (k, n))), np.float32)
        # Not adding, it must not even read what c held.
        c = np.full((*stack, m, n), 0.5 if adds else np.nan, np.float32)
        left, right, result = map(cp.asarray, (a, b, c))
        cublas.product(result, left, right, ta=ta, tb=tb, accumulate=adds)
        a64, b64 = (a.swapaxes(-1, -2) if ta else a), (b.swapaxes(-1, -2) if tb else b)
        wanted = a64.astype(np.float64) @ b64.astype(np.float64) + (0.5 if adds else 0.0)
        error = float(np.max(np.abs(result.get() - wanted) / (1 + np.abs(wanted))))
        if not error <= _ALLOWED:
            raise GpunetError(
                f"its product of {a.shape} and {b.shape} with ta={ta}, tb={tb}, accumulate={adds} "
                f"is off by {error:.1e} where {_ALLOWED:.0e} is allowed."
            )
    for m, n, k in _CAPTURED:
        left, right = (cp.asarray(np.ones(shape, np.float32)) for shape in ((m, k), (k, n)))
        c = cp.asarray(np.zeros((m, n), np.float32))
        product = functools.partial(cublas.product, c, left, right, accumulate=True)
        product()  # loads what the capture may not load
        graph = capture(cp, [product])
        graph()
        graph()
        if (c.get() != 3 * k).any():
            raise GpunetError(f"its product of {(m, k)} and {(k, n)} is wrong in a captured graph.")


# ------------------------------------------------------------------------------ the cache


def cache_file(identity: Mapping[str, Any]) -> Path:
    """Where the measurements of a device are kept: $XDG_CACHE_HOME/gpunet, or ~/.cache/gpunet."""
    chosen = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    return Path(chosen).expanduser() / "gpunet" / f"products-{digest}.json"


def read_measured(identity: Mapping[str, Any]) -> dict[str, str]:
    """What was measured for this device; nothing if there is no such file, or no sound one."""
    try:
        content = json.loads(cache_file(identity).read_text("utf-8"))
    except (OSError, ValueError, RuntimeError):  # no home, too deeply nested
        return {}
    if not isinstance(content, dict) or content.get("identity") != identity:
        return {}
    choices = content.get("choices")
    if not isinstance(choices, dict):
        return {}
    return {name: choice for name, choice in choices.items() if choice in (OWN, CUBLAS)}


def write_measured(identity: Mapping[str, Any], choices: Mapping[str, str]) -> Path:
    """Keep what was measured; the file appears complete or not at all.

    Raises:
        OSError: it cannot be written.
    """
    file = cache_file(identity)
    file.parent.mkdir(parents=True, exist_ok=True)
    content = json.dumps({"identity": identity, "choices": choices}, indent=1, sort_keys=True)
    handle, name = tempfile.mkstemp(dir=file.parent, prefix="products-", suffix=".new")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(content)
        os.replace(name, file)
    except BaseException:
        os.unlink(name)
        raise
    return file
