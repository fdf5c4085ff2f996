"""Train a small convolutional network on pictures of clothes, and draw which ones it mixes up.

    python examples/lenet.py                    # NumPy, or an NVIDIA GPU if CuPy finds one
    python examples/lenet.py --backend cupy     # insist on the GPU

The network is LeCun's LeNet-5 (1998) with today's activations and more channels; three epochs read
0.88 to 0.89 of Fashion-MNIST's 10,000 test pictures right. The data are found where Debian's
package dataset-fashion-mnist or Keras put them, and never downloaded; without them the network
reads the handwritten digits that come with gpunet, enlarged to the same 28 x 28 pixels. The picture
is saved as lenet.png (needs the extra gpunet[plot]).
"""

import argparse
import os

import numpy as np

import gpunet
from gpunet import layers
from gpunet.datasets import digits, fashion_mnist

CLOTHES = ["T-shirt", "trousers", "pullover", "dress", "coat"]
CLOTHES += ["sandal", "shirt", "sneaker", "bag", "boot"]


def load():
    """(training, test, names of the classes); pictures (samples, 28, 28, 1) of uint8."""
    short = os.environ.get("GPUNET_EXAMPLE_SHORT")
    try:
        if short:
            raise gpunet.errors.GpunetError("a short run needs no large data set.")
        train, test = fashion_mnist.load_data()
        names = CLOTHES
    except gpunet.errors.GpunetError as error:
        print(f"Handwritten digits in place of Fashion-MNIST: {error}")
        (x, y), (x_test, y_test) = digits.load_data()
        train, test = (enlarged(x), y), (enlarged(x_test), y_test)
        names = [str(digit) for digit in range(10)]
    return *[(x[..., None], y) for x, y in (train, test)], names


def enlarged(x):
    """Digits of 8 x 8 pixels from 0 to 16 as 28 x 28 from 0 to 255, in their middle."""
    large = np.kron(np.minimum(16 * x, 255).astype(np.uint8), np.ones((1, 3, 3), np.uint8))
    return np.pad(large, ((0, 0), (2, 2), (2, 2)))


def make_model() -> gpunet.Sequential:
    """Twice: look for patterns everywhere, keep the strongest of four neighbours."""
    return gpunet.Sequential(
        [
            gpunet.Input((28, 28, 1), dtype="uint8"),
            layers.Rescaling(1 / 255),
            layers.Conv2D(16, 5, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(32, 5, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(120, activation="relu"),
            layers.Dense(84, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )


def draw(guesses, labels, names, path: str) -> None:
    """How often each class is taken for each other one."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    table = np.zeros((10, 10), int)
    np.add.at(table, (labels, guesses), 1)
    figure, axes = plt.subplots(figsize=(6.5, 6))
    axes.imshow(table / table.sum(axis=1, keepdims=True), cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(10, 10):
        if table[row, column]:
            color = "white" if row == column else "black"
            axes.text(column, row, table[row, column], ha="center", va="center", color=color)
    axes.set(xlabel="taken for", ylabel="is")
    axes.set_xticks(range(10), names, rotation=45, ha="right")
    axes.set_yticks(range(10), names)
    figure.savefig(path, bbox_inches="tight")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", help="auto, numpy, cupy or emulator")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--out", default="lenet.png", help="where to save the picture")
    arguments = parser.parse_args()

    gpunet.utils.set_random_seed(1)
    if arguments.backend:  # else what GPUNET_BACKEND names, or auto
        gpunet.set_backend(arguments.backend)
    (x, y), (x_test, y_test), names = load()
    model = make_model()
    model.summary()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x, y, batch_size=64, epochs=arguments.epochs, validation_data=(x_test, y_test))

    guesses = model.predict(x_test, batch_size=500, verbose=0).argmax(axis=1)
    print(f"{np.mean(guesses == y_test):.1%} of {len(y_test):,} unseen pictures are read correctly")
    try:
        draw(guesses, y_test, names, arguments.out)
    except ImportError:
        print("The picture needs matplotlib: python -m pip install 'gpunet[plot]'")
    else:
        print(f"Which ones are mixed up: {arguments.out}")


if __name__ == "__main__":
    main()
