"""The first Keras tutorial, with nothing changed but the import, on real handwritten digits.

    python examples/tutorial.py

The network takes 100 numbers: the digits of 8 x 8 pixels get a white border of one pixel.
"""

import numpy as np

from gpunet import Sequential
from gpunet.datasets import digits
from gpunet.layers import Dense
from gpunet.utils import set_random_seed, to_categorical

set_random_seed(1)
(x_train, y_train), (x_test, y_test) = digits.load_data()


def with_border(images):
    """(n, 8, 8) pixels of 0 to 16 -> (n, 100) numbers of 0 to 1."""
    return np.pad(images, ((0, 0), (1, 1), (1, 1))).reshape(len(images), 100) / 16


x_train, x_test = with_border(x_train), with_border(x_test)
y_train, y_test = to_categorical(y_train, 10), to_categorical(y_test, 10)

model = Sequential()
model.add(Dense(units=64, activation="relu", input_dim=100))
model.add(Dense(units=10, activation="softmax"))
model.compile(loss="categorical_crossentropy", optimizer="sgd", metrics=["accuracy"])
model.fit(x_train, y_train, epochs=5, batch_size=32)

loss_and_metrics = model.evaluate(x_test, y_test, batch_size=128)
print("loss and accuracy on unseen digits:", loss_and_metrics)

classes = model.predict(x_test, batch_size=128)
print("the first ten digits are read as", classes[:10].argmax(axis=1))
