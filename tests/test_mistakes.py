"""Wrong set-ups: each is refused with one sentence, and no weight changes."""

import io
import re
import tempfile
from pathlib import Path

import numpy as np
import pytest

import gpunet
import gpunet.saving
import gpunet.testing
from gpunet import Input, Model, Sequential, layers, losses, metrics, optimizers, schedules
from gpunet.callbacks import Callback, LambdaCallback
from gpunet.errors import (
    ArgumentError,
    BackendUnavailable,
    DataUnavailable,
    DtypeError,
    GpunetError,
    ShapeError,
    UsageError,
)

RNG = np.random.default_rng(0)
X = RNG.standard_normal((12, 6)).astype(np.float32)
Y = RNG.integers(0, 3, 12)
ONE_HOT = np.eye(3)[Y]


def classifier(loss="sparse_categorical_crossentropy", units=3, end="softmax"):
    model = Sequential([layers.Dense(5, "relu", input_dim=6), layers.Dense(units, end)])
    model.compile("sgd", loss, metrics=["accuracy"])
    model.prepare(None)
    return model


def fit(x=X, y=Y, **options):
    return lambda model: model.fit(x, y, verbose=0, **options)


def lazily_built():
    model = Sequential([layers.Dense(3)])
    model.compile("sgd", "mse")
    return model


def two_inputs():
    a, b = Input((6,), name="left"), Input((2,), name="right")
    model = Model([a, b], layers.Dense(3, "softmax")(layers.Dense(6)(a)))
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model


def integers_of(shape, dtype="int32"):
    x = Input(shape, dtype=dtype, name="tokens")
    return Model(x, layers.Flatten()(x))


def layers_with(initializer):
    return Sequential([layers.Dense(3, kernel_initializer=initializer, input_dim=6)])


class Idle(layers.Layer):
    def forward(self, op, c):
        pass


class Hasty(layers.Layer):
    def __init__(self):
        self.units = 3


class HastyModel(Model):
    def __init__(self):
        self.dense = layers.Dense(3)

    def call(self, x):
        return self.dense(x)


RECOMPILED = classifier()


def recompile(epoch, logs):
    RECOMPILED.compile("sgd", "sparse_categorical_crossentropy")


def words():
    stack = [layers.Embedding(5, 3, input_shape=(4,)), layers.Flatten(), layers.Dense(1)]
    model = Sequential(stack)
    model.compile("sgd", "mse")
    return model


def saved(content):
    """Load a file of weights with this content."""

    def use(model):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "model.weights.npz")
            if content is not None:
                path.write_bytes(content)
            model.load_weights(path)

    return use


def archive(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def with_rate(rate):
    def use(model):
        usual, model.optimizer.learning_rate = model.optimizer.learning_rate, rate
        try:
            model.train_on_batch(X, Y)
        finally:
            model.optimizer.learning_rate = usual

    return use


def as_float_labels(value):
    labels = Y.astype(float)
    labels[3] = value
    return labels


MISTAKES = {
    # ------------------------------------------------------------------------------- inputs
    "samples too narrow": (
        fit(X[:, :4]),
        ShapeError,
        r"input 'input_layer' of sequential expects samples of shape \(6,\).* got \(12, 4\)",
    ),
    "one sample without batch axis": (
        lambda m: m.predict(X[0], verbose=0),
        ShapeError,
        r"expects samples of shape \(6,\).*got \(6,\)\..*x\[None\]",
    ),
    "images for a model of vectors": (
        fit(np.zeros((12, 2, 3))),
        ShapeError,
        r"samples of shape \(6,\).*got \(12, 2, 3\)",
    ),
    "a single number": (
        lambda m: m.predict(3.0, verbose=0),
        ShapeError,
        r"one entry a sample, got the single number 3\.0",
    ),
    "text": (fit(np.full((12, 6), "1.0")), DtypeError, r"an array of numbers, got dtype <U3"),
    "objects": (fit(np.full((12, 6), None)), DtypeError, r"of numbers, got dtype object"),
    "objects that are numbers": (
        fit(X.astype(object)),
        DtypeError,
        r"of numbers, got dtype object; write \.astype\('float32'\)",
    ),
    "a table with a column of text": (
        fit(np.array([[1.0, "red", 2.0, 3.0, 4.0, 5.0]] * 12, object)),
        DtypeError,
        r"of numbers, got dtype object with 'red' in it",
    ),
    "a file's name": (fit("data.csv"), DtypeError, r"got dtype <U8 with 'data\.csv' in it"),
    "a generator": (
        fit(row for row in X),
        DtypeError,
        r"an object of type generator; make a NumPy",
    ),
    "masked values": (
        fit(np.ma.masked_greater(X, 1)),
        ArgumentError,
        r"is a masked array, .* with \.filled",
    ),
    "NaN": (
        fit(np.where(np.arange(6) == 2, np.nan, X)),
        ArgumentError,
        r"x holds nan at \[0, 2\] \(12 such values in all\).* drop these samples",
    ),
    "numbers beyond float32": (
        fit(X.astype(np.float64) * 1e300),
        ArgumentError,
        r"x holds .*e\+\d+ at \[0, 0\] \(72 such values in all\)",
    ),
    "integers that an embedding has no row for": (
        lambda m: words().predict(np.full((2, 4), 9), verbose=0),
        ArgumentError,
        r"x holds 9 at \[0, 0\], but 'embedding' has rows for 0 to 4",
    ),
    "the same in evaluate": (
        lambda m: words().evaluate(np.full((2, 4), -1), np.ones((2, 1)), verbose=0),
        ArgumentError,
        r"x holds -1 at \[0, 0\]",
    ),
    "complex numbers": (fit(X + 1j), DtypeError, r"of numbers, got dtype complex64"),
    "dates": (
        fit(np.full((12, 6), np.datetime64("2020-01-01"))),
        DtypeError,
        r"of numbers, got dtype datetime64",
    ),
    "ragged rows": (fit([[1.0] * 6, [2.0] * 5]), DtypeError, r"rows of different lengths"),
    "no samples": (fit(X[:0], Y[:0]), ArgumentError, r"arrays without samples"),
    "no inputs": (fit(None), ArgumentError, r"needs inputs x, got None"),
    "floats for an input of integers": (
        lambda m: integers_of((4,)).predict(np.ones((2, 4)), verbose=0),
        DtypeError,
        r"input 'tokens' of model takes integers, got dtype float64",
    ),
    "one array for two inputs": (
        lambda m: two_inputs().predict(X, verbose=0),
        ArgumentError,
        r"takes a list of 2 arrays, got ndarray",
    ),
    "three arrays for two inputs": (
        lambda m: two_inputs().predict([X, X, X], verbose=0),
        ArgumentError,
        r"takes a list of 2 arrays, got 3",
    ),
    "an input that is not in the dict": (
        lambda m: two_inputs().predict({"left": X, "rihgt": X}, verbose=0),
        ArgumentError,
        r"has the inputs left, right, got left, rihgt",
    ),
    "inputs of different lengths": (
        lambda m: two_inputs().predict([X, X[:5, :2]], verbose=0),
        ShapeError,
        r"as many entries in each array, but left has 12, right has 5",
    ),
    "a vector for a model that is not built": (
        lambda m: lazily_built().fit(X[0], Y, verbose=0),
        ShapeError,
        r"expects an array \(batch, features\), got \(6,\)",
    ),
    # ------------------------------------------------------------------------------- labels
    "no labels": (fit(y=None), ArgumentError, r"needs targets y beside x, got None"),
    "fewer labels than samples": (fit(y=Y[:9]), ShapeError, r"but x has 12, y has 9"),
    "fewer labels than samples, with a split": (
        fit(y=Y[:9], validation_split=0.25),
        ShapeError,
        r"but x has 12, y has 9",
    ),
    "one-hot rows for a sparse loss": (
        fit(y=ONE_HOT),
        ShapeError,
        r"class numbers of shape \(samples\), got \(12, 3\).*'categorical_crossentropy'",
    ),
    "class numbers for a dense loss": (
        lambda m: classifier("categorical_crossentropy").fit(X, Y, verbose=0),
        ShapeError,
        r"shape of the outputs, \(samples, 3\), got \(12,\).*'sparse_categorical_crossentropy'",
    ),
    "one-hot rows of another width": (
        lambda m: classifier("categorical_crossentropy").fit(X, np.eye(4)[Y], verbose=0),
        ShapeError,
        r"\(samples, 3\), got \(12, 4\)",
    ),
    "a class too high": (
        fit(y=Y + 1),
        ArgumentError,
        r"from 0 to 2, as the model has 3 outputs, got numbers from 1 to 3",
    ),
    "a negative class": (fit(y=Y - 1), ArgumentError, r"from 0 to 2.*got numbers from -1 to 1"),
    "a class beyond 32 bits": (fit(y=Y + 2**32), ArgumentError, r"from 0 to 2.*4294967296"),
    "fractions as classes": (fit(y=Y + 0.5), ArgumentError, r"class numbers, got fractions or NaN"),
    "NaN as class": (fit(y=as_float_labels(np.nan)), ArgumentError, r"got fractions or NaN"),
    "infinity as class": (fit(y=as_float_labels(np.inf)), ArgumentError, r"from 0 to 2.*inf"),
    "text as classes": (fit(y=np.array(["cat"] * 12)), DtypeError, r"of numbers, got dtype <U3"),
    "two classes for one output": (
        lambda m: classifier(units=1).fit(X, Y == 1, verbose=0),
        ArgumentError,
        r"applies softmax to one unit, which is always 1; take",
    ),
    # ------------------------------------------------------------------------------ weights
    "fewer weights than samples": (
        fit(sample_weight=np.ones(7)),
        ShapeError,
        r"sample_weight must have one weight a sample, shape \(12,\), got \(7,\)",
    ),
    "weights of NaN": (
        fit(sample_weight=np.full(12, np.nan)),
        ArgumentError,
        r"sample_weight must be finite numbers, got NaN",
    ),
    "text as weights": (fit(sample_weight=["a"] * 12), DtypeError, r"of numbers, got dtype <U1"),
    "a class weight for a class that is not there": (
        fit(class_weight={0: 1.0, 3: 2.0}),
        ArgumentError,
        r"names the class 3, but the model has the classes 0 to 2",
    ),
    "a class weight by name": (
        fit(class_weight={"cat": 2.0}),
        ArgumentError,
        r"names the class 'cat', but the model has the classes 0 to 2",
    ),
    "class weights in a list": (
        fit(class_weight=[1.0, 2.0, 3.0]),
        ArgumentError,
        r"a dict of class number -> weight, got list",
    ),
    "a class weight of text": (
        fit(class_weight={1: "much"}),
        ArgumentError,
        r"give class 1 a number, got 'much'",
    ),
    # ------------------------------------------------------------------------------- options
    "batch_size 0": (fit(batch_size=0), ArgumentError, r"batch_size.*positive integer, got 0"),
    "batch_size of a fraction": (
        fit(batch_size=3.5),
        ArgumentError,
        r"batch_size must be a positive integer, got 3\.5",
    ),
    "batch_size of text": (
        lambda m: m.predict(X, batch_size="all", verbose=0),
        ArgumentError,
        r"batch_size must be a positive integer, got 'all'",
    ),
    "batch_size True": (fit(batch_size=True), ArgumentError, r"positive integer, got True"),
    "shuffle of text": (fit(shuffle="yes"), ArgumentError, r"a bool for shuffle, got 'yes'"),
    "epochs of text": (
        fit(epochs="5"),
        ArgumentError,
        r"epochs must be an integer of at least 0, got '5'",
    ),
    "negative epochs": (fit(epochs=-1), ArgumentError, r"epochs.*at least 0, got -1"),
    "verbose 3": (
        lambda m: m.fit(X, Y, verbose=3),
        ArgumentError,
        r"verbose must be 0, 1, 2 or 'auto', got 3",
    ),
    "a split of everything": (
        fit(validation_split=1.0),
        ArgumentError,
        r"validation_split must be at least 0 and below 1, got 1\.0",
    ),
    "a split that leaves nothing": (
        fit(validation_split=0.99),
        ArgumentError,
        r"validation_split=0\.99 of 12 samples leaves no samples",
    ),
    "a split of text": (fit(validation_split="1/4"), ArgumentError, r"below 1, got '1/4'"),
    "validation data without labels": (
        fit(validation_data=X),
        ArgumentError,
        r"validation_data must be \(x, y\) or \(x, y, sample_weight\)",
    ),
    "validation data that do not fit": (
        fit(validation_data=(X[:, :2], Y)),
        ShapeError,
        r"samples of shape \(6,\).*got \(12, 2\)",
    ),
    "a callback that is a class": (
        fit(callbacks=[Callback]),
        ArgumentError,
        r"callbacks must be instances of Callback.*put \(\) behind the class",
    ),
    # ------------------------------------------------------------------------------ compile
    "fit before compile": (
        lambda m: Sequential([layers.Dense(3, input_dim=6)]).fit(X, Y),
        UsageError,
        r"sequential has not been compiled: call model\.compile",
    ),
    "evaluate before compile": (
        lambda m: Sequential([layers.Dense(3, input_dim=6)]).evaluate(X, Y),
        UsageError,
        r"has not been compiled",
    ),
    "no loss": (lambda m: m.compile("sgd"), ArgumentError, r"compile needs a loss, for example"),
    "a misspelt loss": (
        lambda m: m.compile("sgd", "mean_square_error"),
        ArgumentError,
        r"Unknown loss 'mean_square_error': did you mean 'mean_squared_error'",
    ),
    "a misspelt optimizer": (
        lambda m: m.compile("adamm", "mse"),
        ArgumentError,
        r"Unknown optimizer 'adamm': did you mean 'adam'",
    ),
    "a misspelt metric": (
        lambda m: m.compile("sgd", "mse", metrics=["acuracy"]),
        ArgumentError,
        r"Unknown metric 'acuracy': did you mean 'accuracy'",
    ),
    "a metric without a list": (
        lambda m: m.compile("sgd", "mse", metrics=metrics.Accuracy()),
        ArgumentError,
        r"compile takes a list of metrics, got",
    ),
    "a loss of one's own as a function": (
        lambda m: m.compile("sgd", lambda y, x: (y - x) ** 2),
        ArgumentError,
        r"subclass gpunet\.losses\.Loss, because gpunet has no automatic differentiation",
    ),
    "a negative learning rate": (
        lambda m: optimizers.SGD(-0.1),
        ArgumentError,
        r"SGD takes a number of at least 0, .* for learning_rate, got -0\.1",
    ),
    "a learning rate of NaN in the middle": (
        with_rate(float("nan")),
        ArgumentError,
        r"learning_rate, got nan",
    ),
    "a schedule that is a class": (
        lambda m: optimizers.SGD(schedules.ExponentialDecay),
        ArgumentError,
        r"a schedule or a function for learning_rate, got <class",
    ),
    "run_eagerly of text": (
        lambda m: m.compile("sgd", "mse", run_eagerly="no"),
        ArgumentError,
        r"compile takes a bool for run_eagerly, got 'no'",
    ),
    "a negative epsilon": (
        lambda m: optimizers.Adam(epsilon=-1),
        ArgumentError,
        r"Adam takes a number of at least 0 for epsilon, got -1",
    ),
    # ------------------------------------------------------------------------------- layers
    "a layer given as a class": (
        lambda m: Sequential([layers.Flatten]),
        ArgumentError,
        r"takes layers, got .*Flatten.*put \(\) behind the class",
    ),
    "a layer without a list": (
        lambda m: Sequential(layers.Dense(3)),
        ArgumentError,
        r"takes a list of layers, got <Dense dense>",
    ),
    "a stack in itself": (
        lambda m: (lambda stack: stack.add(stack))(Sequential([Input((6,))])),
        ArgumentError,
        r"sequential cannot be a layer of itself",
    ),
    "a forward that writes nothing": (
        lambda m: Sequential([Input((6,)), Idle()]).predict(X, verbose=0),
        UsageError,
        r"layer 'idle', forward: no op writes the output idle\.y\[12, 6\], .* op\.copy",
    ),
    "a layer without Layer's constructor": (
        lambda m: Sequential([Input((6,)), Hasty()]),
        UsageError,
        r"Hasty\.__init__ must call super\(\)\.__init__\(\*\*kwargs\), first of all",
    ),
    "the same in a call": (
        lambda m: Hasty()(Input((6,))),
        UsageError,
        r"Hasty\.__init__ must call super\(\)",
    ),
    "a model without Model's constructor": (
        lambda m: HastyModel().predict(X, verbose=0),
        UsageError,
        r"HastyModel\.__init__ must call super\(\)\.__init__\(\)",
    ),
    "a weight of a negative size": (
        lambda m: Idle().add_weight("kernel", (6, -1)),
        ArgumentError,
        r"weight 'kernel' of layer 'idle' takes a shape of integers .*, got \(6, -1\)",
    ),
    "compile in a callback": (
        lambda m: RECOMPILED.fit(
            X, Y, epochs=2, verbose=0, callbacks=[LambdaCallback(on_epoch_end=recompile)]
        ),
        UsageError,
        r"sequential was compiled or moved by a callback while it runs",
    ),
    "a number as layer": (lambda m: Sequential([64]), ArgumentError, r"takes layers, got 64"),
    "units 0": (
        lambda m: layers.Dense(0),
        ArgumentError,
        r"Dense takes a positive integer for units, got 0",
    ),
    "units of text": (lambda m: layers.Dense("64"), ArgumentError, r"for units, got '64'"),
    "units True": (lambda m: layers.Dense(True), ArgumentError, r"for units, got True"),
    "a misspelt argument": (
        lambda m: layers.Dense(3, activaton="relu"),
        ArgumentError,
        r"Dense has no argument 'activaton': did you mean 'activation'; it takes units, ",
    ),
    "an argument of Keras 2": (
        lambda m: layers.Embedding(5, 3, input_length=4),
        ArgumentError,
        r"Embedding has no argument 'input_length'",
    ),
    "use_bias of text": (
        lambda m: layers.Dense(3, use_bias="no"),
        ArgumentError,
        r"Dense takes a bool for use_bias, got 'no'",
    ),
    "use_bias of text for a convolution": (
        lambda m: layers.Conv2D(3, 3, use_bias="no"),
        ArgumentError,
        r"Conv2D takes a bool for use_bias, got 'no'",
    ),
    "center of text": (
        lambda m: layers.BatchNormalization(center="no"),
        ArgumentError,
        r"BatchNormalization takes a bool for center, got 'no'",
    ),
    "an array as initializer": (
        lambda m: layers.Dense(3, kernel_initializer=np.ones((60, 30))),
        ArgumentError,
        r"An initializer must be .*, got array\(\[\[1\.",
    ),
    "a range of text for an initializer": (
        lambda m: gpunet.initializers.Constant("a"),
        ArgumentError,
        r"Constant takes a number for value, got 'a'",
    ),
    "an initializer that returns another shape": (
        lambda m: layers_with(lambda shape, dtype=None: np.ones(2)).predict(X, verbose=0),
        ShapeError,
        r"initializer of 'kernel' of layer 'dense' was called .* \(6, 3\), but .* shape \(2,\)",
    ),
    "more weights than there is memory": (
        lambda m: Sequential([layers.Dense(10**8, input_dim=10**8)]).summary(),
        ArgumentError,
        r"no memory for .* weights, most of them in 'kernel' of layer 'dense' with the shape",
    ),
    "a layer that is a class in a check": (
        lambda m: gpunet.testing.gradient_check(layers.Dense, X),
        ArgumentError,
        r"takes a layer or a model, got .*put \(\) behind the class",
    ),
    "a misspelt activation": (
        lambda m: layers.Dense(3, "rellu"),
        ArgumentError,
        r"Unknown activation 'rellu': did you mean 'relu'",
    ),
    "an activation of one's own": (
        lambda m: layers.Dense(3, np.tanh),
        ArgumentError,
        r"an activation is a name such as 'relu', .*write a layer",
    ),
    "a misspelt initializer": (
        lambda m: layers.Dense(3, kernel_initializer="zeroes"),
        ArgumentError,
        r"'zeroes': did you mean '[Zz]eros'",
    ),
    "a dropout of 1": (
        lambda m: layers.Dropout(1),
        ArgumentError,
        r"of at least 0 and below 1 for rate, got 1",
    ),
    "a dropout of text": (
        lambda m: layers.Dropout("half"),
        ArgumentError,
        r"below 1 for rate, got 'half'",
    ),
    "a scale of text": (
        lambda m: layers.Rescaling("1/255"),
        ArgumentError,
        r"Rescaling takes a number for scale, got '1/255'",
    ),
    "an input of negative size": (lambda m: Input((-1,)), ArgumentError, r"got \(-1,\); leave"),
    "an input with a size of 0": (
        lambda m: Input((0, 6)),
        ArgumentError,
        r"shape of one sample in positive integers, got \(0, 6\); leave the batch size out",
    ),
    "an input of an unknown dtype": (
        lambda m: Input((6,), dtype="flaot32"),
        ArgumentError,
        r"takes one of the dtypes bool, .*, got 'flaot32'",
    ),
    "an input_shape of text": (
        lambda m: layers.Dense(3, input_shape="6"),
        ArgumentError,
        r"positive integers, got '6'",
    ),
    "a reshape to negative sizes": (
        lambda m: layers.Reshape((-2, -3)),
        ArgumentError,
        r"Reshape takes .* at most one -1, got \(-2, -3\)",
    ),
    "a reshape that does not fit": (
        lambda m: layers.Reshape((4, -1))(Input((6,))),
        ShapeError,
        r"cannot turn samples of shape \(6,\) \(6 elements\) into \(4, -1\)",
    ),
    "a sum of different shapes": (
        lambda m: layers.Add()([Input((6,)), Input((5,))]),
        ShapeError,
        r"inputs of one shape, got \(None, 6\), \(None, 5\)",
    ),
    "a layer called on an array": (
        lambda m: layers.Dense(3)(X),
        ArgumentError,
        r"called on symbolic tensors, got an object of type ndarray; start from gpunet\.Input",
    ),
    "a merge in a stack": (
        lambda m: Sequential([layers.Add()]),
        ArgumentError,
        r"layer 'add' has several inputs; use gpunet\.Model",
    ),
    "a layer twice in a stack": (
        lambda m: Sequential([layers.Dense(6, input_dim=6)] * 2),
        ArgumentError,
        r"is in sequential already; use gpunet\.Model to share it",
    ),
    "an Input in the middle": (
        lambda m: Sequential([layers.ReLU(), Input((6,))]),
        ArgumentError,
        r"an Input can only come first",
    ),
    # ------------------------------------------------------------------------------- models
    "a model of an input that is not given": (
        lambda m: Model(Input((6,)), layers.Dense(3)(Input((5,), name="other"))),
        ArgumentError,
        r"depend on the input 'other' of shape \(None, 5\), which is not among its inputs",
    ),
    "a model of arrays": (
        lambda m: Model(X, Y),
        ArgumentError,
        r"takes symbolic inputs and outputs.*got ndarray",
    ),
    "a model of nothing": (lambda m: Model([], []), ArgumentError, r"at least one input"),
    "a stack of nothing": (
        lambda m: Sequential().predict(X, verbose=0),
        UsageError,
        r"sequential has no layers; add some",
    ),
    "a summary before the shape is known": (
        lambda m: lazily_built().summary(),
        UsageError,
        r"is not built: give the first layer input_shape=",
    ),
    "a summary of a width": (
        lambda m: m.summary(line_length=80),
        ArgumentError,
        r"summary has no argument 'line_length': it takes batch_size, print_fn, ",
    ),
    "a summary of text": (
        lambda m: m.summary("wide"),
        ArgumentError,
        r"summary takes a positive integer for batch_size, got 'wide'",
    ),
    "too few weights": (
        lambda m: m.set_weights(m.get_weights()[:3]),
        ShapeError,
        r"sequential has 4 weights, got 3",
    ),
    "weights of another shape": (
        lambda m: m.set_weights([w.T + 1 for w in m.get_weights()]),
        ShapeError,
        r"weight 'kernel' of sequential has shape \(6, 5\), got \(5, 6\)",
    ),
    "weights of which the last does not fit": (
        lambda m: m.set_weights([*(w + 1 for w in m.get_weights()[:3]), np.zeros(4)]),
        ShapeError,
        r"weight 'bias' of sequential has shape \(3,\), got \(4,\)",
    ),
    "weights of text": (
        lambda m: m.set_weights([w.astype(str) for w in m.get_weights()]),
        DtypeError,
        r"value of weight 'kernel' of sequential must be an array of numbers, got dtype <U",
    ),
    "no weights": (
        lambda m: m.set_weights(None),
        ArgumentError,
        r"sequential takes a list of arrays, got NoneType",
    ),
    "a file of weights that is not there": (
        saved(None),
        DataUnavailable,
        r"there is no file .*model\.weights\.npz in ",
    ),
    "a file of weights that is cut off": (
        saved(archive(a=X)[:100]),
        ArgumentError,
        r"is no readable \.npz file of weights: ",
    ),
    "a file of weights with objects": (
        saved(archive(a=np.array([{}], object))),
        ArgumentError,
        r"no readable .*: it does not hold arrays of numbers",
    ),
    "a file of something else": (
        saved(b"hello"),
        ArgumentError,
        r"no readable .*: it does not hold arrays of numbers",
    ),
    "a file of another model's weights": (
        saved(archive(a=X)),
        ArgumentError,
        r"does not belong to sequential: it lacks dense/kernel, .* and has besides a",
    ),
    "a file of Keras' weights": (
        lambda m: m.load_weights("model.weights.h5"),
        ArgumentError,
        r"in files that end in \.npz, .* got 'model\.weights\.h5'",
    ),
    "no file": (lambda m: m.save_weights(None), ArgumentError, r"end in \.npz, .* got None"),
    "a folder that is not there": (
        lambda m: m.save_weights("not/there/model.weights.npz"),
        ArgumentError,
        r"there is no folder not/there to write model\.weights\.npz into",
    ),
    "weights of PyTorch that are none": (
        lambda m: gpunet.saving.from_torch(m, None),
        ArgumentError,
        r"from_torch takes a dict of arrays by name, got None",
    ),
    "a misspelt device": (
        lambda m: m.to("emulater"),
        ArgumentError,
        r"got 'emulater'; did you mean 'emulator'",
    ),
    "a device by another library's name": (
        lambda m: m.to("gpu"),
        ArgumentError,
        r"got 'gpu'; did you mean 'cupy'",
    ),
    "a number as device": (lambda m: m.to(3), ArgumentError, r"knows the backends .*, got 3"),
    "a layer of no name and no index": (
        lambda m: m.get_layer(),
        ArgumentError,
        r"has the layers dense, dense_1, got None",
    ),
    "a number as a layer's name": (
        lambda m: layers.Dense(3, name=3),
        ArgumentError,
        r"Dense takes a string for name, got 3",
    ),
    "a precision that is not there": (
        lambda m: m.to(dtype="float16"),
        ArgumentError,
        r"compute in float32 or float64, got 'float16'",
    ),
    "a gradient of another shape": (
        lambda m: m.run(X).backward(np.ones((12, 2))),
        ShapeError,
        r"outputs' shapes \[\(12, 3\)\], got \[\(12, 2\)\]",
    ),
    "labels and predictions of different lengths": (
        lambda m: losses.mean_squared_error(np.ones((3, 2)), np.ones((2, 2))),
        ShapeError,
        r"y_true has 3, y_pred has 2",
    ),
}


@pytest.mark.parametrize(("do", "error", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_refused_in_one_sentence_and_changes_no_weight(do, error, message):
    model = classifier()
    before, iterations = model.get_weights(), model.optimizer.iterations
    with pytest.raises(error) as caught:
        do(model)
    text = str(caught.value)
    assert isinstance(caught.value, GpunetError)
    assert re.search(message, text), text
    assert text.endswith((".", "?"))
    assert "\n" not in text
    for ours, theirs in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert model.optimizer.iterations == iterations
    model.fit(X, Y, verbose=0)  # and the model can be used as before


def test_a_device_that_is_not_there_leaves_the_model_where_it_is():
    model = classifier()
    if gpunet.backend.cupy_problem():
        with pytest.raises(BackendUnavailable, match="'cupy' cannot be used"):
            model.to("cupy")
        assert model.backend.name == "numpy"


def test_every_error_of_gpunet_is_also_the_built_in_one():
    pairs = [(ShapeError, ValueError), (DtypeError, TypeError), (ArgumentError, ValueError)]
    for ours, builtin in [*pairs, (UsageError, RuntimeError), (BackendUnavailable, RuntimeError)]:
        assert issubclass(ours, builtin)
        assert issubclass(ours, GpunetError)


def test_numbers_of_numpy_are_numbers():
    classes = np.unique(Y).size + np.int64(0)  # what a user computes the units from
    assert layers.Dense(classes).get_config()["units"] == 3
    assert type(layers.Dense(classes).units) is int
    assert layers.Dropout(np.float32(0.5)).rate == 0.5


def test_a_model_that_is_not_built_takes_rows_in_a_list():
    model = lazily_built()
    model.fit([[1.0, 2.0], [3.0, 4.0]], [[0.0] * 3] * 2, verbose=0)
    assert model.predict([np.ones((4, 2))], verbose=0).shape == (4, 3)


def test_a_misspelt_module_can_be_suggested():
    with pytest.raises(AttributeError) as caught:
        gpunet.layer  # noqa: B018
    assert (caught.value.name, caught.value.obj) == ("layer", gpunet)
