"""Writes recurrent.npz: what Keras' recurrent layers do, computed in float64.

Run it with Keras 3 and PyTorch installed: ``KERAS_BACKEND=torch python make_recurrent.py``. The
tests read CASES and the numbers and need neither. For each layer of CASES: its weights, its outputs
for x (and a mask, and first states) and the gradients of sum(dy * output) over all outputs with
respect to x, to the first states and to the weights.
"""

import json
from pathlib import Path

import numpy as np

PATH = Path(__file__).with_name("recurrent.npz")

SHAPE = (3, 5, 4)
MASK = [[1, 1, 0, 1, 0], [0, 0, 1, 1, 1], [0, 0, 0, 0, 0]]
ALL = {"return_sequences": True, "return_state": True}
BACK = {"go_backwards": True}
ZERO = {"zero_output_for_mask": True}
SHAPES = {"ConvLSTM1D": (3, 5, 4, 2), "ConvLSTM2D": (3, 5, 3, 4, 1)}
SHAPES["ConvLSTM3D"] = (3, 5, 2, 3, 2, 1)
SAME = {"padding": "same"}
FIRST = {"data_format": "channels_first"}
CASES = [  # layer, its arguments, and what the call is given besides: a mask, first states
    ("LSTM", {"units": 6}, ""),
    ("LSTM", {"units": 6, "return_sequences": True}, ""),
    ("LSTM", {"units": 2, **BACK}, ""),
    ("GRU", {"units": 6}, ""),
    ("GRU", {"units": 2, "return_sequences": True}, ""),
    ("GRU", {"units": 3, **BACK, "return_sequences": True, "use_bias": False}, ""),
    ("LSTM", {"units": 3, **BACK, "return_sequences": True, "use_bias": False}, ""),
    *(
        (name, {"units": 3, **options}, given)
        for name in ("LSTM", "GRU", "SimpleRNN")
        for options, given in (
            (ALL, "mask state"),
            ({"return_state": True, **BACK}, "mask state"),
            ({**ALL, **BACK, **ZERO}, "mask"),
            ({**ZERO}, "mask state"),
            ({"return_sequences": True}, "mask"),
            ({"return_state": True}, "state"),
        )
    ),
    ("SimpleRNN", {"units": 3}, ""),
    ("SimpleRNN", {"units": 3, "activation": "relu", "use_bias": False, **BACK}, ""),
    ("LSTM", {"units": 3, "activation": "relu", "return_sequences": True}, ""),
    ("LSTM", {"units": 3, "activation": "silu", "recurrent_activation": "hard_sigmoid"}, "mask"),
    ("LSTM", {"units": 3, "activation": None, **ALL, **BACK, "use_bias": False}, "mask state"),
    ("GRU", {"units": 3, "recurrent_activation": "hard_sigmoid", **ALL}, "mask state"),
    ("GRU", {"units": 3, "reset_after": False, **ALL}, "mask state"),
    ("GRU", {"units": 3, "reset_after": False, "use_bias": False, **BACK}, ""),
    ("GRU", {"units": 3, "reset_after": False, "activation": "gelu"}, ""),
    ("RNN", {"cell": [("LSTMCell", {"units": 3})], **ALL}, "mask"),
    ("RNN", {"cell": [("LSTMCell", {"units": 3}), ("GRUCell", {"units": 2})], **ALL}, "mask"),
    ("RNN", {"cell": [("SimpleRNNCell", {"units": 3}), ("LSTMCell", {"units": 2})], **BACK}, ""),
    *(
        ("Bidirectional", {"layer": (name, {"units": 2, **options}), "merge_mode": mode}, given)
        for name, options, mode, given in (
            ("LSTM", {}, "concat", ""),
            ("LSTM", ALL, "concat", "mask state"),
            ("GRU", {"return_sequences": True}, "sum", "mask"),
            ("GRU", {"return_sequences": True}, "mul", ""),
            ("SimpleRNN", {}, "ave", "mask"),
            ("LSTM", ALL, None, "mask"),
            ("GRU", {"return_sequences": True}, None, ""),
        )
    ),
    (
        "Bidirectional",
        {"layer": ("LSTM", {"units": 2}), "backward_layer": ("GRU", {"units": 3, **BACK})},
        "mask",
    ),
    ("TimeDistributed", {"layer": ("Dense", {"units": 3, "activation": "tanh"})}, ""),
    ("ConvLSTM1D", {"filters": 2, "kernel_size": 3}, ""),
    ("ConvLSTM1D", {"filters": 2, "kernel_size": 2, "strides": 2, **SAME, **ALL}, "mask"),
    ("ConvLSTM2D", {"filters": 2, "kernel_size": 2, **SAME, **ALL, **BACK}, ""),
    ("ConvLSTM2D", {"filters": 1, "kernel_size": (2, 3), "dilation_rate": (2, 1), **ALL}, "mask"),
    ("ConvLSTM2D", {"filters": 2, "kernel_size": (2, 1), **FIRST, **ALL}, "mask"),
    ("ConvLSTM2D", {"filters": 1, "kernel_size": 2, "use_bias": False, "activation": "relu"}, ""),
    ("ConvLSTM3D", {"filters": 1, "kernel_size": 2}, ""),
    ("TimeDistributed", {"layer": ("Dense", {"units": 3, "use_bias": False})}, "mask"),
]


def made(layers, name, arguments):
    """The layer of one case, of Keras or of gpunet."""
    arguments = dict(arguments)
    if "cell" in arguments:
        cells = [made(layers, *cell) for cell in arguments["cell"]]
        arguments["cell"] = cells if len(cells) > 1 else cells[0]
    for key in ("layer", "backward_layer"):
        if key in arguments:
            arguments[key] = made(layers, *arguments[key])
    return getattr(layers, name)(**arguments)


def load():
    """The saved arrays by name: "0.x", "0.y0", ..."""
    saved, start, arrays = np.load(PATH), 0, {}
    values = saved["values"]
    for key, shape in json.loads(str(saved["shapes"])).items():
        size = int(np.prod(shape, dtype=int))
        arrays[key] = values[start : start + size].reshape(shape)
        start += size
    return arrays


def main() -> None:
    import keras
    import torch

    keras.config.set_floatx("float64")
    keras.src.backend.common.dtypes.BIT64_TO_BIT32_DTYPE.pop("float64", None)
    rng = np.random.default_rng(0)
    numbers = {}
    for number, (name, arguments, given) in enumerate(CASES):
        layer = made(keras.layers, name, arguments)
        shape = SHAPES.get(name, SHAPE)
        layer.build(shape)
        weights = [rng.standard_normal(weight.shape) / 2 for weight in layer.weights]
        layer.set_weights(weights)
        saved = {"x": rng.standard_normal(shape)}
        inputs = {"x": torch.tensor(saved["x"], requires_grad=True)}
        call = {}
        if "state" in given:
            wrapped = getattr(layer, "forward_layer", layer)
            sizes = list(wrapped.state_size) * (1 if wrapped is layer else 2)
            for i, size in enumerate(sizes):
                saved[f"state{i}"] = rng.standard_normal((SHAPE[0], size))
                inputs[f"state{i}"] = torch.tensor(saved[f"state{i}"], requires_grad=True)
            call["initial_state"] = [value for key, value in inputs.items() if key != "x"]
        if "mask" in given:
            call["mask"] = torch.tensor(MASK, dtype=torch.bool)
        returned = keras.tree.flatten(layer(inputs["x"], **call))
        loss = 0
        for i, y in enumerate(returned):
            saved[f"y{i}"] = y.detach().numpy()
            saved[f"dy{i}"] = rng.standard_normal(y.shape)
            loss = loss + (y * torch.tensor(saved[f"dy{i}"])).sum()
        wanted = [*inputs.values(), *(weight.value for weight in layer.weights)]
        gradients = [g.numpy() for g in torch.autograd.grad(loss, wanted)]
        saved |= {f"d{key}": gradients[i] for i, key in enumerate(inputs)}
        for i, (weight, gradient) in enumerate(zip(weights, gradients[len(inputs) :], strict=True)):
            saved[f"weight{i}"], saved[f"gradient{i}"] = weight, gradient
        numbers |= {f"{number}.{key}": value for key, value in saved.items()}
    # One array for all: a thousand small ones would take three times the bytes.
    shapes = json.dumps({key: value.shape for key, value in numbers.items()})
    values = np.concatenate([value.ravel() for value in numbers.values()])
    np.savez_compressed(PATH, shapes=shapes, values=values)


if __name__ == "__main__":
    main()
