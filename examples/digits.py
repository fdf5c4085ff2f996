"""Train a network to read handwritten digits, and draw what it still gets wrong.

    python examples/digits.py                      # NumPy, or an NVIDIA GPU if CuPy finds one
    python examples/digits.py --backend cupy       # insist on the GPU
    python examples/digits.py --backend emulator   # the CUDA kernels, run on the CPU

The data are 1,797 pictures of 8 x 8 that come with gpunet; a fifth of them, chosen at random, is
kept for testing. The picture is saved as digits.png (needs the extra gpunet[plot]).
"""

import argparse

import numpy as np

import gpunet
from gpunet import layers
from gpunet.datasets import digits


def make_model() -> gpunet.Sequential:
    """One hidden layer; the pixels, 0 to 16, are scaled to 0 to 1 on the device."""
    return gpunet.Sequential(
        [
            gpunet.Input((8, 8)),
            layers.Rescaling(1 / 16),
            layers.Flatten(),
            layers.Dense(256, activation="relu"),
            layers.Dropout(0.4),
            layers.Dense(10, activation="softmax"),
        ]
    )


def draw(history, x, labels, guesses, path: str) -> None:
    """The learning curve, and the misread digits with what they are and what was read."""
    figure = history.plot()
    axes = figure.add_axes((0.0, 1.0, 1.0, 0.25))
    wrong = np.flatnonzero(labels != guesses)[:12]
    strip = np.zeros((8, 12 * 10))
    for place, number in enumerate(wrong):
        strip[:, place * 10 : place * 10 + 8] = x[number]
        title = f"{labels[number]} read as {guesses[number]}"
        axes.text(place * 10 + 3.5, -1, title, ha="center", fontsize=7)
    axes.imshow(strip, cmap="gray_r")
    axes.set_axis_off()
    figure.savefig(path, bbox_inches="tight")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", help="auto, numpy, cupy or emulator")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--out", default="digits.png", help="where to save the picture")
    arguments = parser.parse_args()

    gpunet.utils.set_random_seed(1)
    if arguments.backend:  # else what GPUNET_BACKEND names, or auto
        gpunet.set_backend(arguments.backend)
    (x_train, y_train), (x_test, y_test) = digits.load_data()

    model = make_model()
    model.compile(
        optimizer=gpunet.optimizers.Adam(0.002),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    model.summary()
    history = model.fit(
        x_train,
        y_train,
        batch_size=32,
        epochs=arguments.epochs,
        validation_data=(x_test, y_test),
    )
    guesses = model.predict(x_test, verbose=0).argmax(axis=1)
    right = int((guesses == y_test).sum())
    print(f"\n{right} of {len(y_test)} unseen digits read correctly: {right / len(y_test):.1%}")
    try:
        draw(history, x_test, y_test, guesses, arguments.out)
        print(f"learning curve and misread digits: {arguments.out}")
    except gpunet.errors.MissingDependency as missing:
        print(missing)


if __name__ == "__main__":
    main()
