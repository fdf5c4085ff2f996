"""The exported script runs without gpunet and trains to the same bits."""

import subprocess
import sys

import numpy as np
import pytest

from gpunet import Input, Model, Sequential, layers, optimizers
from gpunet.backend.contract import OPS
from gpunet.backend.cpu import FUNCTIONS
from gpunet.errors import ArgumentError, UsageError
from gpunet.export.sources import Sources
from gpunet.export.step import script
from gpunet.metrics import Accuracy
from gpunet.testing.cases import CASES

RNG = np.random.default_rng(0)
ROWS, STEPS = 8, 4
X = RNG.standard_normal((ROWS * STEPS, 6)).astype(np.float32)
CLASSES = RNG.integers(0, 3, len(X))
ONE_HOT = np.eye(3, dtype=np.float32)[CLASSES]
BITS = RNG.integers(0, 2, (len(X), 3)).astype(np.float32)
NUMBERS = RNG.standard_normal((len(X), 3)).astype(np.float32)
IMAGES = RNG.standard_normal((len(X), 6, 8, 2)).astype(np.float32)
PIXELS = RNG.integers(0, 256, (len(X), 2, 3)).astype(np.uint8)

# Runs a script as its own program, in an interpreter in which gpunet cannot be imported.
RUN = """
import runpy, sys
sys.modules["gpunet"] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run(script, *arguments):
    command = [sys.executable, "-W", "error", "-c", RUN, str(script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def stack(end, dropout=0.0, units=5):
    hidden = [layers.Dense(units, "relu", input_dim=6), layers.Dropout(dropout)]
    return Sequential([*hidden, layers.Dense(4, "tanh"), layers.Dense(3, end)])


def graph():
    """A shared layer, an addition, a softmax within, a Flatten, a frozen layer."""
    x = Input((2, 3), dtype="uint8", name="pixels")
    y = layers.Flatten()(layers.Rescaling(1 / 255, -0.5)(x))
    shared = layers.Dense(6, "sigmoid")
    frozen = layers.Dense(6, "softmax", trainable=False)
    y = layers.Add()([shared(y), shared(shared(y)), frozen(y)])
    return Model(x, layers.Dense(3)(layers.Dropout(0.25)(y)))


def images(data_format="channels_last"):
    """Kernels that ops see in other shapes than the layers: convolutions, norms, a PReLU."""
    how, first = {"data_format": data_format}, data_format == "channels_first"
    stack = [
        layers.Conv2D(4, 3, padding="same", activation="relu", **how),
        layers.BatchNormalization(1 if first else -1),
        layers.MaxPooling2D(**how),
        layers.SeparableConv2D(3, 2, **how),
        layers.Conv2DTranspose(2, 3, strides=2, **how),
        layers.PReLU(shared_axes=[2, 3] if first else [1, 2]),
        layers.GlobalAveragePooling2D(**how),
        layers.Dense(3),
    ]
    return Sequential([Input((2, 6, 8) if first else (6, 8, 2)), *stack])


def compiled(model):
    model.compile("sgd", "mse")
    return model


CASES_OF_MODELS = {
    "sgd": (lambda: stack("softmax"), "sgd", "categorical_crossentropy", X, ONE_HOT),
    "momentum": (
        lambda: stack("softmax", 0.5),
        optimizers.SGD(0.1, momentum=0.9),
        "sparse_categorical_crossentropy",
        X,
        CLASSES,
    ),
    "nesterov": (
        lambda: stack("sigmoid"),
        optimizers.SGD(0.1, 0.9, nesterov=True),
        "binary_crossentropy",
        X,
        BITS,
    ),
    "adam": (lambda: stack("linear", 0.3), optimizers.Adam(0.01), "mse", X, NUMBERS),
    "graph": (graph, "adam", "mse", PIXELS, NUMBERS),
    "images": (images, optimizers.SGD(0.1, 0.9), "mse", IMAGES, NUMBERS),
    "images, channels first": (
        lambda: images("channels_first"),
        "sgd",
        "mse",
        IMAGES.reshape(-1, 2, 6, 8),
        NUMBERS,
    ),
    "recurrent": (
        lambda: Sequential([layers.GRU(3, input_shape=(6, 16))]),
        "sgd",
        "mse",
        IMAGES.reshape(-1, 6, 16),
        NUMBERS,
    ),
    "several blocks": (lambda: stack("relu", 0.5, 5000), "sgd", "mse", X, NUMBERS),
}


@pytest.mark.parametrize("case", CASES_OF_MODELS)
def test_the_script_trains_to_the_same_bits_without_gpunet(case, tmp_path):
    make, optimizer, loss, x, y = CASES_OF_MODELS[case]
    model = make()
    model.compile(optimizer, loss, metrics=["accuracy"] if "crossentropy" in loss else None)
    model.export_step(tmp_path / "step.py", (x[:ROWS], y[:ROWS]))
    model.save_weights(tmp_path / "before.npz")
    np.savez(tmp_path / "data.npz", x=x, y=y)
    files = [tmp_path / name for name in ("before.npz", "data.npz", "after.npz")]
    printed = run(tmp_path / "step.py", *files).splitlines()
    for step in range(STEPS):
        part = slice(step * ROWS, (step + 1) * ROWS)
        results = model.train_on_batch(x[part], y[part], return_dict=True)
        assert printed[step].split()[:2] == ["loss", f"{results['loss']:.4f}"]
    model.save_weights(tmp_path / "expected.npz")
    with np.load(tmp_path / "after.npz") as ours, np.load(tmp_path / "expected.npz") as theirs:
        assert ours.files == theirs.files
        for name in ours.files:
            np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)


def test_the_script_shows_itself_on_random_numbers(tmp_path):
    model = stack("softmax", 0.2, 32)
    model.compile(optimizers.Adam(0.05), "sparse_categorical_crossentropy")
    model.export_step(tmp_path / "step.py", 16)
    losses = [float(line.split()[1]) for line in run(tmp_path / "step.py").splitlines()]
    assert len(losses) == 40
    assert sum(losses[-4:]) < 0.9 * sum(losses[:4])


def test_several_inputs_are_read_by_their_names(tmp_path):
    a, b = Input((6,), name="left"), Input((6,), name="right side")
    model = Model([a, b], layers.Dense(3)(layers.Add()([a, layers.Dense(6, "relu")(b)])))
    model.compile("sgd", "mse")
    model.export_step(tmp_path / "step.py", 4)
    model.save_weights(tmp_path / "before.npz")
    np.savez(tmp_path / "data.npz", left=X, right_side=X, y=NUMBERS)
    files = [tmp_path / name for name in ("before.npz", "data.npz", "after.npz")]
    assert len(run(tmp_path / "step.py", *files).splitlines()) == len(X) // 4


def test_the_step_reads_as_its_formulas(tmp_path):
    model = stack("softmax")
    model.compile("sgd", "categorical_crossentropy")
    model.export_step(tmp_path / "step.py", 4)
    text = (tmp_path / "step.py").read_text()
    for line in (
        "dense_kernel = weights[0:30].reshape(6, 5)",
        "    # --------------------------------------- dense: forward -----",
        "    # dense_y = relu(input_layer_batch dense_kernel + dense_bias)",
        "    # dense_y (4, 5), input_layer_batch (4, 6), dense_kernel (6, 5), dense_bias (5,)",
        "d_dense_1_z = d_dense_2_logits dense_2_kernel^T * tanh'(dense_1_y)",
        "gemm_column_sum(d_dense_kernel, d_dense_bias, input_layer_batch, d_dense_z, ta=True)",
    ):
        assert line in text
    assert max(map(len, text.splitlines())) <= 100
    assert "Array |" not in text  # no annotations


class Halve(layers.Layer):
    def forward(self, op, c):
        op.python(lambda y, x: np.multiply(x, 0.5, out=y), [c.y], [c.x])

    def backward(self, op, c):
        op.scale_shift(c.dx, c.dy, scale=0.5, offset=0.0)


def test_python_of_a_layers_own_is_refused_with_its_name(tmp_path):
    model = Sequential([layers.Dense(3, input_dim=6), Halve(name="half")])
    model.compile("sgd", "mse")
    with pytest.raises(UsageError, match="cannot write layer 'half', because it runs Python code"):
        model.export_step(tmp_path / "step.py")


def test_no_name_becomes_code(tmp_path):
    """Names may come from a file that somebody else has written."""
    name = 'a"""\nraise SystemExit("injected")\n#\\'
    x = Input((6,), name=f"{name} ")
    y = layers.Dense(4, "relu", name=name)(x)
    model = Model([x], layers.Dense(3, name="class")(y), name=name)
    model.compile("sgd", "mse", metrics=[Accuracy(name=name)])
    model.export_step(tmp_path / "step.py", 4)
    model.save_weights(tmp_path / "before.npz")
    np.savez(tmp_path / "data.npz", x=X, y=NUMBERS)
    files = [tmp_path / name for name in ("before.npz", "data.npz")]
    assert run(tmp_path / "step.py", *files).count("loss") == len(X) // 4


def test_formulas_have_the_values_of_arguments(tmp_path):
    text = script(compiled(graph()), (PIXELS[:4], NUMBERS[:4]))
    for line in (
        "    # rescaling_y[i] = 0.00392156862745098 * x[indices[i]] + -0.5",
        "    # dropout_y_i = add_y_i / (1 - 0.25) where u_i >= 0.25, else 0",
        "    # dense_y = sigmoid(rescaling_y dense_kernel + dense_bias)",
        "    # dense_y_3 = sigmoid(dense_y_2 dense_kernel + dense_bias)",
        "    # d_dense_kernel += rescaling_y^T d_dense_z_3 and d_dense_bias += sum of d_dense_z_3",
        "    # d_dense_z = d_add_y * sigmoid'(dense_y_3)\n",
    ):
        assert line in text


def test_arguments_are_checked_and_files_kept(tmp_path):
    model = stack("softmax")
    with pytest.raises(UsageError, match="has not been compiled"):
        model.export_step(tmp_path / "step.py")
    model.compile("sgd", "mse")
    for batch in (0, "32", (X,)):
        with pytest.raises(ArgumentError, match=r"takes a batch size or a batch \(x, y\), got"):
            model.export_step(tmp_path / "step.py", batch)
    with pytest.raises(ArgumentError, match=r"writes a Python file, step\.py, got"):
        model.export_step(tmp_path / "step.txt")
    (tmp_path / "step.py").write_text("mine")
    with pytest.raises(ArgumentError, match="exists; pass overwrite=True"):
        model.export_step(tmp_path / "step.py", overwrite=False)
    assert [path.name for path in tmp_path.iterdir()] == ["step.py"]
    model.export_step(tmp_path / "step.py")
    assert (tmp_path / "step.py").read_text() != "mine"


# --------------------------------------------------------------------------- the ops' source


@pytest.fixture(scope="module")
def exported():
    """All ops of the contract from their text alone, in one namespace."""
    sources = Sources()
    for function in FUNCTIONS.values():
        sources.add(function)
    text = "\n".join([*sources.imports, *sources.parts])
    assert "gpunet" not in text
    namespace = {}
    exec(compile(text, "ops.py", "exec"), namespace)
    return namespace


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_every_op_is_the_same_from_its_text(case, exported):
    for call in case.calls:
        ours, theirs = case.arrays(call, "float32"), case.arrays(call, "float32")
        for function, arrays in ((FUNCTIONS[case.op], ours), (exported[case.op], theirs)):
            ordered = [arrays.get(parameter.name) for parameter in OPS[case.op].parameters]
            function(*ordered, **case.attributes(call))
        for name in ours.keys() - {"scratch"}:  # which thread works where may differ
            np.testing.assert_array_equal(ours[name], theirs[name])
