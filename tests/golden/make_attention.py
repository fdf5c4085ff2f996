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
# The same with masks by name, and with the scores where the options ask for them. A query that sees
# no key is only there where Keras gives it 0, which MultiHeadAttention does with scores.
SCORES = {"return_attention_scores": True}
GROUPS = {"head_dim": 3, "num_query_heads": 4, "num_key_value_heads": 2}
MASKED = [
    ("MultiHeadAttention", {"num_heads": 2, "key_dim": 3}, {}, SAME, ["value_mask"]),
    ("MultiHeadAttention", {"num_heads": 2, "key_dim": 3}, SCORES, CROSS, []),
    (
        "MultiHeadAttention",
        {"num_heads": 2, "key_dim": 3, "use_gate": True, "sliding_window": 3},
        CAUSAL | SCORES,
        SAME,
        ["attention_mask", "value_mask", "key_mask"],
    ),
    ("MultiHeadAttention", {"num_heads": 2, "key_dim": 3, "use_gate": True}, CAUSAL, SAME, []),
    ("MultiHeadAttention", {"num_heads": 1, "key_dim": 130}, CAUSAL, SAME, ["value_mask"]),
    ("GroupQueryAttention", GROUPS, {}, SAME, []),
    ("GroupQueryAttention", GROUPS | {"use_gate": True}, CAUSAL, SAME, ["value_mask"]),
    (
        "GroupQueryAttention",
        GROUPS | {"sliding_window": 2, "use_bias": False},
        SCORES,
        SAME,
        ["query_mask", "attention_mask"],
    ),
    ("GroupQueryAttention", GROUPS, CAUSAL | SCORES, [(7, 5), (4, 5), (4, 3)], ["key_mask"]),
    ("Attention", {}, {}, [(5, 4), (7, 4)], ["query_mask", "value_mask"]),
    ("Attention", {"use_scale": True}, CAUSAL, [(5, 4), (5, 4)], ["query_mask", "value_mask"]),
    (
        "Attention",
        {"use_scale": True},
        CAUSAL | SCORES,
        [(5, 4), (7, 3), (7, 4)],
        ["query_mask", "value_mask"],
    ),
    ("AdditiveAttention", {}, {}, [(5, 4), (7, 4)], []),
    ("AdditiveAttention", {"use_scale": False}, CAUSAL, SAME, ["query_mask", "value_mask"]),
    ("AdditiveAttention", {}, SCORES, [(5, 4), (7, 3), (7, 4)], ["query_mask", "value_mask"]),
]


def call(layer, inputs, options):
    """Call a layer of Keras or gpunet on query, value and perhaps key."""
    many = type(layer).__name__ == "MultiHeadAttention"
    return layer(*inputs, **options) if many else layer(inputs, **options)


def call_masked(layer, inputs, options, masks):
    """The same with masks by name; always returns a list of outputs."""
    if type(layer).__name__ in ("Attention", "AdditiveAttention"):
        both = [masks.get("query_mask"), masks.get("value_mask")]
        returned = layer(inputs, mask=both if masks else None, **options)
    else:
        returned = layer(*inputs, **masks, **options)
    return list(returned) if isinstance(returned, list | tuple) else [returned]


def make_mask(rng, name, shapes, may_be_empty):
    """Zeros and ones; if it may not be empty, a one for each query."""
    length, keys = shapes[0][0], shapes[1][0]
    sizes = {"query_mask": (length,), "attention_mask": (length, keys)}
    mask = rng.random((BATCH, *sizes.get(name, (keys,)))) < 0.6
    if not may_be_empty:
        mask[..., 0] = True
    return mask


def masked_numbers(rng, number):
    """Those of a masked case by their names."""
    import keras
    import torch

    name, arguments, options, shapes, names = MASKED[number]
    layer = getattr(keras.layers, name)(**arguments)
    x = [rng.standard_normal((BATCH, *shape)) for shape in shapes]
    may_be_empty = (
        name not in ("Attention", "AdditiveAttention") and "return_attention_scores" in options
    )
    masks = {mask: make_mask(rng, mask, shapes, may_be_empty) for mask in names}
    inputs = [torch.tensor(array, requires_grad=True) for array in x]
    call_masked(layer, inputs, options, masks)
    weights = [rng.uniform(-1, 1, weight.shape) for weight in layer.weights]
    layer.set_weights(weights)
    ys = call_masked(layer, inputs, options, masks)
    dys = [rng.standard_normal(tuple(y.shape)) for y in ys]
    wanted = [*inputs, *(weight.value for weight in layer.trainable_weights)]
    total = sum((y * torch.tensor(dy)).sum() for y, dy in zip(ys, dys, strict=True))
    saved = {f"y{i}": y.detach().numpy() for i, y in enumerate(ys)}
    saved |= {f"dy{i}": dy for i, dy in enumerate(dys)} | masks
    saved |= {f"x{i}": array for i, array in enumerate(x)}
    saved |= {f"weight{i}": array for i, array in enumerate(weights)}
    gradients = torch.autograd.grad(total, wanted)
    return saved | {f"gradient{i}": array.numpy() for i, array in enumerate(gradients)}


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
    for number in range(len(MASKED)):
        rng = np.random.default_rng(number)
        numbers |= {f"m{number}.{k}": v for k, v in masked_numbers(rng, number).items()}
    np.savez_compressed(Path(__file__).with_name("attention.npz"), **numbers)


if __name__ == "__main__":
    main()
