"""Fit a curve to noisy measurements, hold it against a straight line, and draw both.

    python examples/regression.py
    python examples/regression.py --backend cupy

The measurements are made up: the braking distance of a car by its speed and by how wet the road is,
with an error of 2 metres. The network is told nothing of physics; on measurements that it has not
seen it is off by little more than the measuring error allows. The picture is saved as
regression.png (needs the extra gpunet[plot]).
"""

import argparse

import numpy as np

import gpunet
from gpunet import layers, optimizers

ERROR = 2.0  # metres, the standard deviation of a measurement


def measure(count, seed):
    """Speeds (km/h) and wetness (0 to 1) as (count, 2), distances (m) as (count, 1)."""
    random = np.random.default_rng(seed)
    speed, wetness = random.uniform(20, 130, count), random.uniform(0, 1, count)
    return np.stack([speed, wetness], axis=1), braking_distance(speed, wetness) + (
        random.normal(0, ERROR, (count, 1))
    )


def braking_distance(speed, wetness):
    """v^2 / (2 g friction), with a friction from 0.8 (dry) to 0.4 (wet)."""
    return ((speed / 3.6) ** 2 / (2 * 9.81 * (0.8 - 0.4 * wetness)))[:, None]


def make_model(x):
    """Inputs of different sizes are brought to mean 0 and variance 1 by what adapt saw."""
    normalization = layers.Normalization()
    normalization.adapt(x)
    hidden = [layers.Dense(32, "tanh"), layers.Dense(32, "tanh")]
    return gpunet.Sequential([normalization, *hidden, layers.Dense(1)])


def straight_line(x, y, x_test):
    """The best straight line (a plane): least squares."""
    columns = np.column_stack([x, np.ones(len(x))])
    solution, *_ = np.linalg.lstsq(columns, y, rcond=None)
    return np.column_stack([x_test, np.ones(len(x_test))]) @ solution


def draw(model, x, y, path):
    """The measurements of dry and of wet roads, and what the model says of both."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.5))
    speeds = np.linspace(20, 130, 111)
    for wetness, color in ((0.05, "tab:orange"), (0.95, "tab:blue")):
        near = np.abs(x[:, 1] - wetness) < 0.05
        curve = model.predict(np.stack([speeds, np.full(111, wetness)], axis=1), verbose=0)
        axes.plot(x[near, 0], y[near, 0], ".", color=color, label=f"measured, wetness {wetness}")
        axes.plot(speeds, curve[:, 0], color=color, label="the network")
    axes.set(xlabel="speed (km/h)", ylabel="braking distance (m)")
    axes.legend()
    figure.savefig(path, bbox_inches="tight")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", help="auto, numpy, cupy or emulator")
    parser.add_argument("--out", default="regression.png", help="where to save the picture")
    arguments = parser.parse_args()
    gpunet.utils.set_random_seed(1)
    if arguments.backend:  # else what GPUNET_BACKEND names, or auto
        gpunet.set_backend(arguments.backend)

    x, y = measure(2000, seed=1)
    x_test, y_test = measure(1000, seed=2)
    model = make_model(x)
    model.compile(optimizers.Adam(0.01), "mse")
    history = model.fit(x, y, epochs=100, verbose=0, validation_split=0.2)
    for epoch in (0, 4, 19, 99):
        loss, unseen = (history.history[name][epoch] for name in ("loss", "val_loss"))
        print(f"epoch {epoch + 1:3}: mean squared error {loss:7.1f}, on unseen data {unseen:7.1f}")

    errors = {
        "straight line": straight_line(x, y, x_test) - y_test,
        "network": model.predict(x_test, verbose=0) - y_test,
        "the truth": braking_distance(*x_test.T) - y_test,
    }
    print("off on 1,000 new measurements, root mean square:")
    for name, difference in errors.items():
        print(f"  {name:14}{np.sqrt(np.mean(difference**2)):5.2f} m")
    try:
        draw(model, x_test, y_test, arguments.out)
    except ImportError:
        print("The picture needs matplotlib: python -m pip install 'gpunet[plot]'")
    else:
        print(f"Measurements and curves: {arguments.out}")


if __name__ == "__main__":
    main()
