"""Writes transformer.npz: what KerasHub's layers for transformers do, computed in float64.

Run it with Keras 3, KerasHub and PyTorch installed: ``KERAS_BACKEND=torch python
make_transformer.py``. The tests read CASES and the numbers and need none of them. For each case:
inputs, weights in KerasHub's order, the output and the gradients of sum(dy * output) with respect
to inputs and weights. RotaryEmbedding computes its angles in float32 there.
"""

from pathlib import Path

import numpy as np

# layer, arguments, shapes of the inputs, and perhaps of masks by name
SIZES = {"intermediate_dim": 7, "num_heads": 2}
GPT = SIZES | {"activation": "gelu", "normalize_first": True, "layer_norm_epsilon": 0.01}
# A layer of integers is called on them, and on what came of that in reverse.
INTEGERS = ("ReversibleEmbedding", "TokenAndPositionEmbedding")
CASES = [
    ("ReversibleEmbedding", {"input_dim": 7, "output_dim": 4}, [(5,)]),
    ("ReversibleEmbedding", {"input_dim": 7, "output_dim": 4, "tie_weights": False}, [(5,)]),
    ("ReversibleEmbedding", {"input_dim": 7, "output_dim": 4, "logit_soft_cap": 0.5}, [(5,)]),
    (
        "TokenAndPositionEmbedding",
        {"vocabulary_size": 7, "sequence_length": 6, "embedding_dim": 4},
        [(5,)],
    ),
    (
        "TokenAndPositionEmbedding",
        {"vocabulary_size": 7, "sequence_length": 5, "embedding_dim": 4, "tie_weights": False},
        [(5,)],
    ),
    ("PositionEmbedding", {"sequence_length": 5}, [(5, 6)]),
    ("PositionEmbedding", {"sequence_length": 9}, [(5, 6)]),
    ("SinePositionEncoding", {}, [(30, 6)]),
    ("SinePositionEncoding", {"max_wavelength": 50}, [(5, 7)]),
    ("RotaryEmbedding", {}, [(30, 8)]),
    ("RotaryEmbedding", {"max_wavelength": 500, "scaling_factor": 4.0}, [(5, 2, 6)]),
    ("RotaryEmbedding", {"sequence_axis": 2}, [(3, 5, 4)]),
    ("RotaryEmbedding", {"sequence_axis": 3, "feature_axis": 1}, [(6, 2, 5)]),
    ("TransformerEncoder", SIZES, [(5, 6)]),
    ("TransformerEncoder", GPT, [(4, 5)]),
    ("TransformerDecoder", SIZES, [(5, 6)]),
    ("TransformerDecoder", GPT, [(5, 6)]),
    ("TransformerDecoder", SIZES, [(5, 6), (4, 3)]),
    ("TransformerDecoder", GPT, [(4, 6), (5, 6)]),
    ("TransformerEncoder", SIZES, [(5, 6)], {"padding_mask": (5,), "attention_mask": (5, 5)}),
    ("TransformerDecoder", GPT, [(5, 6)], {"decoder_padding_mask": (5,)}),
    (
        "TransformerDecoder",
        SIZES,
        [(5, 6), (4, 3)],
        {
            "encoder_padding_mask": (4,),
            "encoder_attention_mask": (5, 4),
            "decoder_attention_mask": (5, 5),
        },
    ),
]
BATCH = 3


def masks_of(number, rng):
    """Masks of a case, by name; the first position is always seen."""
    (masks,) = CASES[number][3:] or ({},)
    drawn = {name: rng.random((BATCH, *shape)) < 0.5 for name, shape in masks.items()}
    for mask in drawn.values():
        mask[..., 0] = True
    return drawn


def call(layer, inputs, masks):
    """Call a layer of KerasHub or gpunet on its inputs."""
    name = type(layer).__name__
    if name == "ReversibleEmbedding":
        return layer(layer(*inputs), reverse=True)
    if name == "TokenAndPositionEmbedding":
        is_ours = "reverse" in getattr(layer, "call_options", ())
        back = layer if is_ours else layer.token_embedding
        return back(layer(*inputs), reverse=True)
    return layer(*inputs, **masks)


def main() -> None:
    import keras
    import keras_hub
    import torch

    keras.config.set_floatx("float64")
    keras.src.backend.common.dtypes.BIT64_TO_BIT32_DTYPE.pop("float64", None)
    rng = np.random.default_rng(0)
    numbers = {}
    for number, (name, arguments, shapes, *_) in enumerate(CASES):
        layer = getattr(keras_hub.layers, name)(**arguments)
        x = [rng.standard_normal((BATCH, *shape)) for shape in shapes]
        inputs = [torch.tensor(array, requires_grad=True) for array in x]
        if name in INTEGERS:
            x = [rng.integers(0, 7, (BATCH, *shape)) for shape in shapes]
            inputs = [torch.tensor(array) for array in x]
        masks = masks_of(number, rng)
        tensors = {key: torch.tensor(mask) for key, mask in masks.items()}
        call(layer, inputs, tensors)
        weights = [rng.uniform(-1, 1, weight.shape) for weight in layer.weights]
        layer.set_weights(weights)
        y = call(layer, inputs, tensors)
        dy = rng.standard_normal(tuple(y.shape))
        differentiable = [] if name in INTEGERS else inputs
        wanted = [*differentiable, *(weight.value for weight in layer.trainable_weights)]
        loss = (y * torch.tensor(dy)).sum()
        gradients = [torch.zeros_like(array) for array in wanted]
        if loss.requires_grad:
            gradients = torch.autograd.grad(loss, wanted, materialize_grads=True)
        saved = {"y": y.detach().numpy(), "dy": dy}
        saved |= {f"x{i}": array for i, array in enumerate([*x, *masks.values()])}
        saved |= {f"weight{i}": array for i, array in enumerate(weights)}
        saved |= {f"gradient{i}": array.numpy() for i, array in enumerate(gradients)}
        numbers |= {f"{number}.{key}": value for key, value in saved.items()}
    np.savez_compressed(Path(__file__).with_name("transformer.npz"), **numbers)


if __name__ == "__main__":
    main()
