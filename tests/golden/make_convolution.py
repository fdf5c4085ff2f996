"""Writes convolution.npz: Keras' convolutions and pools with their gradients, in float64.

Run it with Keras 3 and JAX installed: ``KERAS_BACKEND=jax python make_convolution.py``. (On PyTorch
Keras pads transposed convolutions in another way than on JAX and TensorFlow, and says so.)
"""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import jax

jax.config.update("jax_enable_x64", True)

import convolution_cases as cases  # noqa: E402
import keras  # noqa: E402
import numpy as np  # noqa: E402
from keras.src.backend.common import dtypes  # noqa: E402

keras.config.set_floatx("float64")
dtypes.BIT64_TO_BIT32_DTYPE.pop("float64")  # which else makes layers compute in float32


def numbers(case: cases.Case) -> dict[str, np.ndarray]:
    """y, dx and the gradient of each weight, for the arrays of a case."""
    layer = case.make(keras.layers)
    layer.build((None, *case.shape))
    shapes = [weight.shape for weight in layer.weights]
    arrays = cases.arrays(case, shapes, layer.compute_output_shape((2, *case.shape))[1:])

    def forward(x: jax.Array, weights: list[jax.Array]) -> jax.Array:
        return layer.stateless_call(weights, [], x)[0]

    y, back = jax.vjp(forward, arrays["x"], arrays["weights"])
    dx, dweights = back(arrays["dy"])
    found = {"y": y, "dx": dx, **{f"d{i}": d for i, d in enumerate(dweights)}}
    return {key: np.asarray(value) for key, value in found.items()}


def main() -> None:
    found = {
        f"{cases.name(case)}/{key}": value
        for case in cases.CASES
        for key, value in numbers(case).items()
    }
    np.savez_compressed(cases.PATH, **found)
    print(f"{len(found)} arrays of {len(cases.CASES)} cases")


if __name__ == "__main__":
    main()
