"""Writes attention.npz: what Keras' attention layers do, computed in float64.

Run it with Keras 3 and PyTorch installed: ``KERAS_BACKEND=torch python make_attention.py``. The
tests read CASES and the numbers and need neither. For each case: inputs (query, value and perhaps
key), weights, the output and the gradients of sum(dy * output) with respect to inputs and weights.
"""

from pathlib import Path

import numpy as np

# layer, arguments, arguments of the call, shapes of query, value and perhaps key
SAME = [(5, 6), (5, 6)]
CROSS = [(5, 6), (7, 4), (7, 3)]
CAUSAL = {"use_causal_mask": True}
CASES = [
    ("MultiHeadAttention", {"num_heads": 2, "key_dim": 3}, {}, SAME),
    ("MultiHeadAttention", {"num_heads": 3, "key_dim": 2, "value_dim": 5}, CAUSAL, SAME),
    ("MultiHeadAttention", {"num_heads": 2, "key_dim": 4, "use_bias": False}, CAUSAL, CROSS),
    ("MultiHeadAttention", {"num_heads": 2, "key_dim": 4, "output_shape": 5}, {}, CROSS),
    ("MultiHeadAttention", {"num_heads": 1, "key_dim": 4, "output_shape": (3, 2)}, {}, CROSS[:2]),
    ("MultiHeadAttention", {"num_heads": 2, "key_dim": 2}, CAUSAL, [(7, 3), (4, 5)]),
    ("Attention", {}, {}, [(5, 4), (7, 4)]),
    ("Attention", {"use_scale": True}, CAUSAL, [(5, 4), (7, 3), (7, 4)]),
    ("Attention", {"use_scale": True}, {}, [(5, 4), (7, 4)]),
    ("Attention", {}, CAUSAL, [(7, 4), (5, 6), (5, 4)]),
]
BATCH = 3


def call(layer, inputs, options):
    """Call a layer of Keras or gpunet on query, value and perhaps key."""
    many = type(layer).__name__ == "MultiHeadAttention"
    return layer(*inputs, **options) if many else layer(inputs, **options)


def main() -> None:
    import keras
    import torch

    keras.config.set_floatx("float64")
    keras.src.backend.common.dtypes.BIT64_TO_BIT32_DTYPE.pop("float64", None)
    rng = np.random.default_rng(0)
    numbers = {}
    for number, (name, arguments, options, shapes) in enumerate(CASES):
        layer = getattr(keras.layers, name)(**arguments)
        x = [rng.standard_normal((BATCH, *shape)) for shape in shapes]
        inputs = [torch.tensor(array, requires_grad=True) for array in x]
        call(layer, inputs, options)
        weights = [rng.uniform(-1, 1, weight.shape) for weight in layer.weights]
        layer.set_weights(weights)
        y = call(layer, inputs, options)
        dy = rng.standard_normal(tuple(y.shape))
        wanted = [*inputs, *(weight.value for weight in layer.trainable_weights)]
        gradients = torch.autograd.grad((y * torch.tensor(dy)).sum(), wanted)
        saved = {"y": y.detach().numpy(), "dy": dy}
        saved |= {f"x{i}": array for i, array in enumerate(x)}
        saved |= {f"weight{i}": array for i, array in enumerate(weights)}
        saved |= {f"gradient{i}": array.numpy() for i, array in enumerate(gradients)}
        numbers |= {f"{number}.{key}": value for key, value in saved.items()}
    np.savez_compressed(Path(__file__).with_name("attention.npz"), **numbers)


if __name__ == "__main__":
    main()
