"""A model with two inputs and two outputs: what do two handwritten digits add up to?

    python examples/multi_input.py

Each input is a picture of a digit. One encoder, a model of its own, reads both, so that whatever it
learns from one side it knows on the other. One output names the left digit; the other says the sum.
The residual block shows how a layer is made of layers. It takes half a minute on a laptop.
"""

import os

import numpy as np

import gpunet
from gpunet import Input, Model, Sequential, layers

SHORT = bool(os.environ.get("GPUNET_EXAMPLE_SHORT"))


class Residual(layers.Layer):
    """y = x + what two dense layers make of it: a layer that is made of layers."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.inner = layers.Dense(units, "relu")

    def build(self, input_shape):
        self.outer = layers.Dense(input_shape[-1])

    def call(self, x):
        return layers.add([x, self.outer(self.inner(x))])

    def get_config(self):
        return {**super().get_config(), "units": self.units}


def pairs(images, labels, count, rng):
    """Random pairs of pictures, and what is to be said of them."""
    left, right = rng.integers(0, len(images), (2, count))
    x = {"left": images[left], "right": images[right]}
    return x, {"digit": labels[left], "sum": labels[left] + labels[right]}


def make_model():
    left, right = Input((8, 8), name="left"), Input((8, 8), name="right")
    encoder = Sequential(
        [
            layers.Flatten(),
            layers.Rescaling(1 / 16),
            layers.Dense(64, "relu"),
            Residual(64),
            layers.Dropout(0.1),
        ],
        name="encoder",
    )
    a, b = encoder(left), encoder(right)  # one encoder, called twice
    both = Residual(128)(layers.concatenate([a, b]))
    digit = layers.Dense(10, "softmax", name="digit")(a)
    total = layers.Dense(19, "softmax", name="sum")(both)
    return Model([left, right], [digit, total], name="adding_machine")


def main():
    gpunet.utils.set_random_seed(1)
    rng = np.random.default_rng(1)
    (x_train, y_train), (x_test, y_test) = gpunet.datasets.digits.load_data()
    train = pairs(x_train, y_train, 1000 if SHORT else 20000, rng)
    test = pairs(x_test, y_test, 2000, rng)

    model = make_model()
    model.compile(
        optimizer="adam",
        loss="sparse_categorical_crossentropy",  # for both outputs
        loss_weights={"digit": 0.3, "sum": 1.0},
        metrics={"digit": ["accuracy"], "sum": ["accuracy"]},
    )
    model.summary()
    model.fit(*train, validation_data=test, epochs=1 if SHORT else 5, verbose=2)

    # What the encoder makes of a picture: the model up to one of its layers.
    encoder = model.get_layer("encoder")
    features = encoder.predict(x_test[:3], verbose=0)
    print("features of three digits:", features.shape)

    digit, total = model.predict({name: x[:5] for name, x in test[0].items()}, verbose=0)
    for left, both, truth in zip(digit.argmax(1), total.argmax(1), test[1]["sum"], strict=False):
        print(f"{left} + {both - left} = {both}  (right: {truth})")

    results = model.evaluate(*test, verbose=0, return_dict=True)
    print(f"accuracy of the sum: {results['sum_accuracy']:.3f}")


if __name__ == "__main__":
    main()
