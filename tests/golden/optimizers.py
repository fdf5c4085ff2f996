"""Golden numbers of optimizers: weights after 10 and 100 steps of fixed gradients, in float64.

The runs are listed here, for the tests as well; optimizers.npz holds what Keras 3 and PyTorch make
of them. To make it again, with keras and torch installed:

    KERAS_BACKEND=torch python tests/golden/optimizers.py
"""

from pathlib import Path

import numpy as np

FILE = Path(__file__).with_suffix(".npz")
SHAPES = {"first/kernel": (3, 2), "first/bias": (2,), "last/kernel": (2, 2), "last/bias": (2,)}
SIZE = sum(int(np.prod(shape)) for shape in SHAPES.values())
STEPS = 100
EARLY = 10

DECAY = {"class_name": "ExponentialDecay"}
DECAY["config"] = {"initial_learning_rate": 0.05, "decay_steps": 30, "decay_rate": 0.5}
COSINE = {"class_name": "CosineDecay"}
COSINE["config"] = {"initial_learning_rate": 0.0, "decay_steps": 70, "alpha": 0.1}
COSINE["config"] |= {"warmup_target": 0.05, "warmup_steps": 20}

# "exclude" and "finalize" are calls beside the constructor's arguments.
COMMON = (
    {},
    {"learning_rate": 0.05, "weight_decay": 0.1, "exclude": ["bias"]},
    {"learning_rate": 0.05, "clipvalue": 0.5, "weight_decay": 0.02},
    {"learning_rate": 0.05, "clipnorm": 0.8},
    {"learning_rate": 0.05, "global_clipnorm": 1.5},
    {"learning_rate": 0.05, "use_ema": True, "ema_momentum": 0.9, "finalize": True},
    {"learning_rate": 0.05, "use_ema": True, "ema_overwrite_frequency": 3},
    {"learning_rate": 0.05, "gradient_accumulation_steps": 2, "clipnorm": 0.8},
    {"learning_rate": DECAY, "gradient_accumulation_steps": 5},
    {"learning_rate": COSINE},
)
OWN = {
    "SGD": ({"momentum": 0.9}, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    "Adam": ({"amsgrad": True}, {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 0.01}),
    "AdamW": ({"amsgrad": True, "learning_rate": 0.05, "weight_decay": 0.1},),
    "RMSprop": (
        {"momentum": 0.9, "rho": 0.5},
        {"centered": True, "epsilon": 0.01},
        {"centered": True, "momentum": 0.5, "epsilon": 0.01, "learning_rate": 0.05},
    ),
    "Nadam": ({"beta_1": 0.5, "beta_2": 0.9, "epsilon": 0.01},),
    "Adamax": ({"beta_1": 0.5, "beta_2": 0.9, "epsilon": 0.01},),
    "Adagrad": ({"initial_accumulator_value": 0.0}, {"epsilon": 0.1}),
    "Adadelta": ({"learning_rate": 1.0}, {"learning_rate": 1.0, "rho": 0.5, "epsilon": 0.01}),
    "Lion": ({"beta_1": 0.5, "beta_2": 0.9},),
}
KERAS = [(name, arguments) for name, own in OWN.items() for arguments in (*COMMON, *own)]
TORCH = [
    ("SGD", {"learning_rate": 0.05}),
    ("SGD", {"learning_rate": 0.05, "momentum": 0.9}),
    ("SGD", {"learning_rate": 0.05, "momentum": 0.9, "nesterov": True}),
]


def first_weights():
    """Numbers between -1 and 1, in the order of SHAPES."""
    return np.sin(1.0 + 2.3 * np.arange(SIZE))


def gradients(step):
    """The gradients of one step, some of them large."""
    i = np.arange(SIZE)
    return (1 + i % 4) * np.sin(0.9 * step + 1.7 * i + 0.31 * step * (i % 3) + 0.2)


def split(flat):
    """One array for each weight."""
    ends = np.cumsum([np.prod(shape) for shape in SHAPES.values()])
    parts = np.split(flat, ends[:-1])
    return [part.reshape(shape) for part, shape in zip(parts, SHAPES.values(), strict=True)]


def run_keras(name, arguments):
    import keras

    arguments = dict(arguments)
    exclude, finalize = arguments.pop("exclude", None), arguments.pop("finalize", False)
    rate = arguments.get("learning_rate")
    if isinstance(rate, dict):
        schedule = getattr(keras.optimizers.schedules, rate["class_name"])
        arguments["learning_rate"] = schedule(**rate["config"])
    optimizer = getattr(keras.optimizers, name)(**arguments)
    if exclude:
        optimizer.exclude_from_weight_decay(var_names=exclude)
    variables = [
        keras.Variable(value, name=path.split("/")[1], dtype="float64")
        for value, path in zip(split(first_weights()), SHAPES, strict=True)
    ]
    results = []
    for step in range(STEPS):
        values = [keras.ops.convert_to_tensor(g, "float64") for g in split(gradients(step))]
        optimizer.apply(values, variables)
        if step + 1 == STEPS and finalize:
            optimizer.finalize_variable_values(variables)
        if step + 1 in (EARLY, STEPS):
            results.append(np.concatenate([v.numpy().reshape(-1) for v in variables]))
    return results


def run_torch(name, arguments):
    import torch

    arguments = dict(arguments)
    weights = torch.nn.Parameter(torch.tensor(first_weights()))
    rate = arguments.pop("learning_rate")
    optimizer = getattr(torch.optim, name)([weights], lr=rate, **arguments)
    results = []
    for step in range(STEPS):
        weights.grad = torch.tensor(gradients(step))
        optimizer.step()
        if step + 1 in (EARLY, STEPS):
            results.append(weights.detach().numpy().copy())
    return results


SCHEDULE_STEPS = (0, 1, 5, 9, 10, 11, 19, 20, 25, 30, 31, 55, 70, 99, 100, 150, 1000)
SCHEDULES = [
    ("ExponentialDecay", {"initial_learning_rate": 0.1, "decay_steps": 10, "decay_rate": 0.9}),
    (
        "ExponentialDecay",
        {"initial_learning_rate": 0.1, "decay_steps": 10, "decay_rate": 0.5, "staircase": True},
    ),
    ("InverseTimeDecay", {"initial_learning_rate": 0.1, "decay_steps": 10, "decay_rate": 0.5}),
    (
        "InverseTimeDecay",
        {"initial_learning_rate": 0.1, "decay_steps": 10, "decay_rate": 0.5, "staircase": True},
    ),
    ("PiecewiseConstantDecay", {"boundaries": [10, 30], "values": [1.0, 0.5, 0.1]}),
    ("PolynomialDecay", {"initial_learning_rate": 0.1, "decay_steps": 30}),
    (
        "PolynomialDecay",
        {"initial_learning_rate": 0.1, "decay_steps": 30, "power": 0.5, "cycle": True},
    ),
    ("CosineDecay", {"initial_learning_rate": 0.1, "decay_steps": 100, "alpha": 0.05}),
    ("CosineDecay", COSINE["config"]),
    ("CosineDecayRestarts", {"initial_learning_rate": 0.1, "first_decay_steps": 12}),
    (
        "CosineDecayRestarts",
        {
            "initial_learning_rate": 0.1,
            "first_decay_steps": 12,
            "t_mul": 1.0,
            "m_mul": 0.8,
            "alpha": 0.1,
        },
    ),
    (
        "CosineDecayRestarts",
        {"initial_learning_rate": 0.1, "first_decay_steps": 7, "t_mul": 1.5, "m_mul": 0.9},
    ),
]


def main():
    import keras
    from keras.src import ops

    keras.config.set_floatx("float64")
    # Keras takes maxima and minima of float64 numbers in float32, and so rounds norms.
    ops.maximum = lambda x, bound: x.clamp(min=bound)
    ops.minimum = lambda x, bound: x.clamp(max=bound)
    np.savez_compressed(
        FILE,
        keras=np.array([run_keras(*run) for run in KERAS]),
        torch=np.array([run_torch(*run) for run in TORCH]),
        schedules=np.array(
            [
                [
                    float(getattr(keras.optimizers.schedules, name)(**arguments)(step))
                    for step in SCHEDULE_STEPS
                ]
                for name, arguments in SCHEDULES
            ]
        ),
    )


if __name__ == "__main__":
    main()
