"""Train a small residual network on pictures that are shifted, turned and mirrored as they come.

    python examples/resnet.py                   # NumPy, or an NVIDIA GPU if CuPy finds one
    python examples/resnet.py --backend cupy    # insist on the GPU

A block adds to its input what two convolutions make of it, so that gradients reach the first layers
unhindered however deep the network is (He et al., "Deep residual learning", 2015); batch
normalization keeps the numbers in range. The augmentation runs on the device, from random numbers
that are the same on every device. The data are those of lenet.py.
"""

import argparse

import lenet

import gpunet
from gpunet import layers, optimizers, schedules


def convolution(x, filters, strides=1, activation="relu"):
    """Convolution, batch normalization (which has the bias), activation."""
    x = layers.Conv2D(filters, 3, strides, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization(momentum=0.9)(x)  # a short training needs a short memory
    return layers.Activation(activation)(x)


def block(x, filters, strides=1):
    """relu(x + two convolutions of x); where the shape changes, x passes a 1x1 convolution."""
    y = convolution(x, filters, strides)
    y = convolution(y, filters, activation="linear")
    if strides > 1 or x.shape[-1] != filters:
        x = layers.Conv2D(filters, 1, strides, use_bias=False)(x)
        x = layers.BatchNormalization(momentum=0.9)(x)
    return layers.Activation("relu")(layers.Add()([x, y]))


def make_model(mirror: bool) -> gpunet.Model:
    """Three blocks; half as many pixels and twice as many filters each."""
    pixels = gpunet.Input((28, 28, 1), dtype="uint8")
    x = layers.Rescaling(1 / 255)(pixels)
    x = layers.RandomFlip("horizontal")(x) if mirror else x
    x = layers.RandomTranslation(0.07, 0.07, fill_mode="constant")(x)
    x = layers.RandomRotation(0.02, fill_mode="constant")(x)
    x = convolution(x, 16, strides=2)
    for filters, strides in ((16, 1), (32, 2), (64, 2)):
        x = block(x, filters, strides)
    x = layers.GlobalAveragePooling2D()(x)
    return gpunet.Model(pixels, layers.Dense(10, "softmax")(x))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", help="auto, numpy, cupy or emulator")
    parser.add_argument("--epochs", type=int, default=3)
    arguments = parser.parse_args()

    gpunet.utils.set_random_seed(1)
    if arguments.backend:  # else what GPUNET_BACKEND names, or auto
        gpunet.set_backend(arguments.backend)
    (x, y), (x_test, y_test), names = lenet.load()
    model = make_model(mirror=names == lenet.CLOTHES)  # a mirrored 3 is none
    model.summary()
    steps = arguments.epochs * -(-len(x) // 64)
    rate = schedules.CosineDecay(0.0, steps, warmup_target=3e-3, warmup_steps=steps // 10)
    model.compile(
        optimizers.AdamW(rate, weight_decay=1e-3),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    model.fit(x, y, batch_size=64, epochs=arguments.epochs, validation_data=(x_test, y_test))
    _, accuracy = model.evaluate(x_test, y_test, batch_size=500, verbose=0)
    print(f"{accuracy:.1%} of {len(x_test):,} unseen pictures are read correctly")


if __name__ == "__main__":
    main()
