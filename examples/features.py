"""Look inside a convolutional network: its filters, its feature maps, and what excites its units.

    python examples/features.py

trains the network of lenet.py for an epoch and draws three pictures into features.png:

1. the filters that the first layer has learned: edges and spots of all directions;
2. what each layer makes of one picture: maps get smaller, and say more "what" and less "where";
3. for a few units of each layer, the input that excites it most, found by following the gradient
   of its activation with respect to the pixels. Deeper layers see higher-level features: first
   strokes, then parts, at last whole objects (Zeiler and Fergus, 2014; Simonyan et al., 2014).

The data are those of lenet.py. The picture needs the extra gpunet[plot].
"""

import argparse

import lenet
import numpy as np

import gpunet

STEPS = 60
UNITS = 6


def maps_of(model, x):
    """The output of each convolution and pool for some pictures, by layer."""
    layers = [layer for layer in model.layers if layer.name.startswith(("conv", "max_pool"))]
    inner = gpunet.Model(model.input, [layer.output for layer in layers])
    return dict(zip([layer.name for layer in layers], inner.predict(x, verbose=0), strict=True))


def exciting(model, layer, units, seed=0):
    """Pictures that excite these units (channels, or classes) of a layer most.

    Gradient ascent on the activation in the middle of the map; what that place sees of the 28 x 28
    pixels is cut out. Each pixel is drawn to the mean of its neighbours, or else the picture is
    noise that happens to fit.
    """
    # The pixels are moved in floating point, so the network is read from behind the rescaling.
    first = model.layers[0].output
    inner = gpunet.Model(first, layer.output)
    pixels = np.random.default_rng(seed).uniform(0.4, 0.6, (len(units), 28, 28, 1))
    pixels = pixels.astype(np.float32)
    seen = np.zeros((28, 28), bool)
    for _ in range(STEPS):
        run = inner.run(pixels)
        dy = np.zeros(run.y.shape, np.float32)
        middle = [size // 2 for size in run.y.shape[1:-1]]
        for row, unit in enumerate(units):
            dy[(row, *middle, unit)] = 1
        dx = inner.backend.to_numpy(run.backward(dy, weights=False))
        seen |= (dx != 0).any(axis=(0, 3))
        scale = np.sqrt(np.mean(np.square(dx), axis=(1, 2, 3), keepdims=True)) + 1e-12
        neighbours = sum(np.roll(pixels, s, a) for a in (1, 2) for s in (-1, 1)) / 4
        pixels += 0.05 * dx / scale + 0.2 * (neighbours - pixels)
        np.clip(pixels, 0, 1, out=pixels)
    rows, columns = (np.flatnonzero(seen.any(axis=axis)) for axis in (1, 0))
    return pixels[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1, 0]


def tiles(pictures, columns):
    """Pictures (count, height, width) side by side, each stretched to the full range."""
    count, height, width = pictures.shape
    low, high = (f(pictures, axis=(1, 2), keepdims=True) for f in (np.min, np.max))
    scaled = (pictures - low) / np.maximum(high - low, 1e-6)
    rows = -(-count // columns)
    sheet = np.ones((rows * (height + 1), columns * (width + 1)))
    for number, picture in enumerate(scaled):
        row, column = divmod(number, columns)
        top, left = row * (height + 1), column * (width + 1)
        sheet[top : top + height, left : left + width] = picture
    return sheet


def draw(model, x, names, path: str) -> None:
    """All three pictures."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    convolutions = [layer for layer in model.layers if layer.name.startswith("conv")]
    filters = model.get_weights()[0]  # (height, width, 1, filters)
    sheets = {"filters of the first layer": tiles(filters[:, :, 0].transpose(2, 0, 1), 16)}
    for name, maps in maps_of(model, x).items():
        sheets[f"{name} of one picture"] = tiles(maps[0].transpose(2, 0, 1)[:16], 16)
    for layer in convolutions:
        pictures = exciting(model, layer, range(2 * UNITS))
        sheets[f"what excites {layer.name}"] = tiles(pictures, 2 * UNITS)
    before_softmax = model.layers[-1]
    sheets[f"what excites the classes: {', '.join(names)}"] = tiles(
        exciting(model, before_softmax, range(10)), 10
    )
    heights = [10 * len(sheet) / sheet.shape[1] + 0.3 for sheet in sheets.values()]  # and a title
    size = (10, sum(heights))
    figure, axes = plt.subplots(len(sheets), 1, figsize=size, height_ratios=heights)
    for place, (title, sheet) in zip(axes, sheets.items(), strict=True):
        place.imshow(sheet, cmap="gray")
        place.set_title(title, fontsize=9)
        place.set_axis_off()
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--out", default="features.png", help="where to save the picture")
    arguments = parser.parse_args()

    gpunet.utils.set_random_seed(1)
    (x, y), (x_test, y_test), names = lenet.load()
    model = lenet.make_model()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x, y, batch_size=64, epochs=arguments.epochs, validation_data=(x_test, y_test))
    for name, maps in maps_of(model, x_test[:500]).items():
        active = np.mean(maps > 0)
        print(f"{name:16} {maps.shape[1]:2} x {maps.shape[2]:2} maps, {active:.0%} active")
    try:
        draw(model, x_test[:1], names, arguments.out)
    except ImportError:
        print("The picture needs matplotlib: python -m pip install 'gpunet[plot]'")
    else:
        print(f"Filters, feature maps and what excites the units: {arguments.out}")


if __name__ == "__main__":
    main()
