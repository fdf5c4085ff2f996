"""Write a layer of your own: forward, backward, a gradient check, and training.

    python examples/custom_layer.py
    python examples/custom_layer.py --backend emulator   # its CUDA kernels, run on the CPU

A layer records ops; it never sees an array. The very same lines therefore run with NumPy and with
the CUDA kernels, without a copy of the layer for each.
"""

import argparse

import numpy as np

import gpunet
from gpunet import layers
from gpunet.datasets import digits
from gpunet.testing import gradient_check


class Residual(layers.Layer):
    """y = x + relu(x kernel + bias): a dense layer with a way around it (He et al., 2015)."""

    def build(self, input_shape):
        features = input_shape[-1]
        self.add_weight("kernel", (features, features), "he_normal")
        self.add_weight("bias", (features,), "zeros")

    def forward(self, op, c):
        z = c.scratch(c.x.shape)  # (batch, features)
        c.h = c.scratch(c.x.shape)  # what is kept on c, backward finds there
        op.gemm(z, c.x, c.kernel)
        op.bias_act(c.h, z, c.bias, activation="relu")
        op.add(c.y, c.x, c.h)

    def backward(self, op, c):
        dz = c.scratch(c.x.shape)
        op.bias_act_backward(dz, c.dbias, c.dy, c.h, activation="relu")
        op.gemm(c.dkernel, c.x, dz, ta=True)
        op.gemm(c.dx, dz, c.kernel, tb=True)
        op.copy(c.dx, c.dy)  # the way around: contributions to one gradient add up


class Forgetful(Residual):
    """The same with a mistake: the gradient of the way around is missing."""

    def backward(self, op, c):
        dz = c.scratch(c.x.shape)
        op.bias_act_backward(dz, c.dbias, c.dy, c.h, activation="relu")
        op.gemm(c.dkernel, c.x, dz, ta=True)
        op.gemm(c.dx, dz, c.kernel, tb=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", help="auto, numpy, cupy or emulator")
    backend = parser.parse_args().backend
    if backend:  # else what GPUNET_BACKEND names, or auto
        gpunet.set_backend(backend)
    gpunet.utils.set_random_seed(1)

    x = np.random.default_rng(1).normal(size=(5, 6))
    print(f"gradient check of Residual:  error {gradient_check(Residual(), x):.1e}")
    print(f"gradient check of Forgetful: error {gradient_check(Forgetful(), x):.1e}  <- caught")

    (x_train, y_train), (x_test, y_test) = digits.load_data()
    model = gpunet.Sequential(
        [
            layers.Rescaling(1 / 16, input_shape=(8, 8)),
            layers.Flatten(),
            Residual(),
            Residual(),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(
        optimizer=gpunet.optimizers.SGD(0.05, momentum=0.9),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    model.summary()
    model.fit(x_train, y_train, epochs=10, verbose=2)
    loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
    print(f"unseen digits: loss {loss:.3f}, accuracy {accuracy:.1%}")


if __name__ == "__main__":
    main()
