"""The network of the first Keras tutorial on pictures of clothes: two layers, five epochs.

    python examples/fashion_mnist.py                    # NumPy, or an NVIDIA GPU if CuPy finds one
    python examples/fashion_mnist.py --backend cupy     # insist on the GPU

It reads about 0.83 of Fashion-MNIST's 10,000 test pictures right; the convolutions of lenet.py,
which know that neighbouring pixels belong together, read 0.88. Where the data are not on this
machine it reads digits; see lenet.py.
"""

import argparse

import numpy as np
from lenet import load

import gpunet
from gpunet import Sequential
from gpunet.layers import Dense, Flatten, Rescaling
from gpunet.optimizers import SGD
from gpunet.utils import to_categorical


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", help="auto, numpy, cupy or emulator")
    arguments = parser.parse_args()
    gpunet.utils.set_random_seed(1)
    if arguments.backend:  # else what GPUNET_BACKEND names, or auto
        gpunet.set_backend(arguments.backend)

    (x_train, y_train), (x_test, y_test), names = load()
    model = Sequential()
    model.add(Rescaling(1 / 255, input_shape=x_train.shape[1:]))
    model.add(Flatten())
    model.add(Dense(units=64, activation="relu"))
    model.add(Dense(units=10, activation="softmax"))
    model.compile(loss="categorical_crossentropy", optimizer=SGD(0.01), metrics=["accuracy"])
    model.fit(x_train, to_categorical(y_train, 10), epochs=5, batch_size=32)

    loss, accuracy = model.evaluate(x_test, to_categorical(y_test, 10), verbose=0)
    print(f"{accuracy:.1%} of {len(y_test):,} unseen pictures are read correctly (loss {loss:.3f})")
    guesses = model.predict(x_test, batch_size=500, verbose=0).argmax(axis=1)
    for label, name in enumerate(names):
        of_class = guesses[y_test == label]
        others = np.bincount(of_class[of_class != label], minlength=10)
        rival = f", most often taken for {names[others.argmax()]}" if others.any() else ""
        print(f"  {name:9} {np.mean(of_class == label):4.0%} right{rival}")


if __name__ == "__main__":
    main()
