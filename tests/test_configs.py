"""Configs: every public class makes the same object again; models do; nothing foreign is run."""

import copy
import importlib.util
import inspect
import json
import random
from pathlib import Path

import numpy as np
import pytest

import gpunet
from gpunet import (
    Input,
    Model,
    Sequential,
    constraints,
    initializers,
    layers,
    losses,
    metrics,
    optimizers,
    regularizers,
)
from gpunet.errors import ArgumentError, GpunetError
from gpunet.models import clone_model, model_from_json
from gpunet.saving.configs import describe, from_description, public_classes
from gpunet.structures import flatten

GOLDEN = Path(__file__).parent / "golden"

CONVOLUTIONS = (layers.Conv1D, layers.Conv2D, layers.Conv3D)
TRANSPOSED = (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
DEPTHWISE = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)
SEPARABLE = (layers.SeparableConv1D, layers.SeparableConv2D)

# Classes that need arguments; all others are also made without any.
EXAMPLES = [
    layers.Activation("tanh"),
    layers.Embedding(7, 3, "ones", "l2", constraints.MaxNorm(1.5), True, name="words"),
    layers.Masking(-1.0, name="gaps"),
    layers.GroupQueryAttention(4, 6, 2, 0.1, False, 3, use_gate=True, bias_initializer="ones"),
    layers.Dense(
        3,
        "relu",
        False,
        initializers.HeNormal(seed=3),
        "ones",
        regularizers.L1L2(0.1, 0.2),
        "l2",
        "l1",
        constraints.MinMaxNorm(0.5, 2.0, 0.3, axis=[0]),
        "non_neg",
        name="d",
        trainable=False,
    ),
    layers.Dropout(0.25, name="drop"),
    *(conv(4, 3, 2, "same", None, 1, 2, "relu") for conv in CONVOLUTIONS),
    *(conv(4, 3, 2, "same", 1, None, 1, "relu", False) for conv in TRANSPOSED),
    *(conv(3, 1, "same", 2, None, 2, "tanh", name="d") for conv in DEPTHWISE),
    *(conv(4, 3, 1, "same", None, 2, 2, pointwise_regularizer="l2") for conv in SEPARABLE),
    layers.GetItem((slice(None), -1)),
    layers.GetItem((..., None, slice(1, 3)), name="part"),
    layers.InputLayer((2, None), 8, "int32", name="ids"),
    layers.LSTM(
        3,
        use_bias=False,
        recurrent_initializer="he_normal",
        unit_forget_bias=False,
        recurrent_regularizer="l2",
        bias_constraint="non_neg",
        dropout=0.25,
        return_sequences=True,
        go_backwards=True,
    ),
    layers.GRU(3, bias_initializer="ones", kernel_constraint="max_norm", go_backwards=True),
    layers.LSTM(3, "relu", "hard_sigmoid", return_state=True, seed=3, recurrent_dropout=0.5),
    layers.GRU(3, reset_after=False, unroll=True, use_cudnn=False, zero_output_for_mask=True),
    layers.SimpleRNN(3, "gelu", go_backwards=True, activity_regularizer="l2"),
    layers.LSTMCell(3, unit_forget_bias=False, recurrent_activation="relu"),
    layers.GRUCell(3, reset_after=False, bias_regularizer="l1"),
    layers.SimpleRNNCell(3, None, False, seed=5, dropout=0.5),
    layers.StackedRNNCells([layers.LSTMCell(3), layers.GRUCell(2)]),
    layers.Bidirectional(layers.GRU(3, "softsign", name="g"), "mul", name="b"),
    layers.Bidirectional(layers.LSTM(3), None, None, layers.GRU(3, go_backwards=True)),
    layers.TimeDistributed(layers.Dense(3, "relu"), name="t"),
    layers.ConvLSTM1D(3, 2, padding="same", recurrent_activation="relu", seed=3),
    layers.ConvLSTM2D(3, (2, 1), 1, "valid", "channels_first", (1, 2), unit_forget_bias=False),
    layers.ConvLSTM3D(3, 2, unroll=True, activity_regularizer="l2"),
    layers.RNN([layers.LSTMCell(3), layers.SimpleRNNCell(2)], return_sequences=True, name="r"),
    layers.PositionEmbedding(9, "ones"),
    layers.ReversibleEmbedding(7, 3, False, "ones", "l2", "non_neg", True, None, 3.0),
    layers.TokenAndPositionEmbedding(7, 9, 3, False, "ones", True),
    layers.TransformerEncoder(8, 2, 0.25, "gelu", 1e-3, "ones", "ones", True),
    layers.TransformerDecoder(8, 2, 0.25, "gelu", 1e-3, "ones", "ones", True),
    layers.ActivityRegularization(0.1, 0.2),
    layers.Attention(True, "dot", 0.25, name="a"),
    layers.MultiHeadAttention(
        *(2, 3, 4, 0.25, False, (5, 6)),
        kernel_initializer="ones",
        kernel_regularizer="l2",
        bias_constraint="non_neg",
    ),
    layers.Rescaling(0.5, offset=1.0),
    layers.Reshape((2, -1)),
    layers.Normalization([1, 2], [[1.0], [2.0]], [[3.0], [4.0]], invert=True),
    layers.Resizing(3, 4, "nearest", pad_to_aspect_ratio=True, fill_value=0.5),
    layers.CenterCrop(3, 4),
    layers.RandomFlip("vertical", 3),
    layers.RandomCrop(3, 4, seed=2),
    layers.RandomRotation((-0.1, 0.3), "wrap", "nearest", 4, 0.5),
    layers.RandomTranslation(0.2, (-0.1, 0.3), "constant"),
    layers.RandomZoom(0.2, (-0.1, 0.3)),
    layers.RandomBrightness(0.3, (0.0, 1.0), 5),
    layers.RandomContrast((0.3, 0.2), (0.0, 1.0), 6),
    layers.BatchNormalization(
        -1, 0.5, 0.1, False, True, "ones", "zeros", "ones", "zeros", "l2", "l1", "non_neg"
    ),
    layers.LayerNormalization([1, 2], 0.1, gamma_constraint="unit_norm", rms_scaling=True),
    layers.GroupNormalization(-1, epsilon=0.1, beta_regularizer="l2"),
    layers.SpectralNormalization(layers.Dense(3, "relu", name="inner"), 2, name="outer"),
    layers.Permute((2, 1)),
    layers.RepeatVector(3),
    layers.Dot([1, 2], normalize=True),
    layers.Concatenate(1),
    layers.UpSampling2D((3, 1), "channels_first", "bilinear"),
    layers.ZeroPadding2D(((1, 2), (0, 3))),
    layers.Cropping3D((1, 0, 2)),
    layers.GaussianNoise(0.5),
    layers.GaussianDropout(0.5),
    layers.AlphaDropout(0.5),
    layers.SpatialDropout1D(0.5),
    layers.SpatialDropout2D(0.5, "channels_first"),
    layers.SpatialDropout3D(0.5),
    losses.CategoricalCrossentropy(from_logits=True, name="mine"),
    losses.CategoricalFocalCrossentropy([0.5, 0.25, 0.75], name="mine"),
    optimizers.SGD(0.5, 0.25, nesterov=True),
    optimizers.Adam(0.5, beta_1=0.8),
    metrics.IoU(3, [0, 2]),
    metrics.MeanIoU(3),
    metrics.PrecisionAtRecall(0.5, 100, 1),
    metrics.RecallAtPrecision(0.5),
    metrics.SensitivityAtSpecificity(0.5),
    metrics.SpecificityAtSensitivity(0.5),
    metrics.OneHotIoU(3, [1]),
    metrics.OneHotMeanIoU(3),
    metrics.MeanMetricWrapper("mse"),
    regularizers.L1(0.5),
    regularizers.L1L2(0.5, 0.25),
    regularizers.OrthogonalRegularizer(0.5, "columns"),
    constraints.MaxNorm(3, axis=1),
    constraints.UnitNorm(axis=[0, 1]),
    initializers.Constant(2.0),
    initializers.VarianceScaling(2.0, "fan_out", "uniform", seed=1),
]
FAMILIES = [
    (layers, layers.Layer),
    (losses, losses.Loss),
    (metrics, metrics.Metric),
    (optimizers, optimizers.Optimizer),
    (regularizers, regularizers.Regularizer),
    (constraints, constraints.Constraint),
    (initializers, initializers.Initializer),
]
# input_*: a model's Input says it; the rest: Dense and MultiHeadAttention take them only to say
# that they have no such thing.
NOT_IN_CONFIG = {"self", "kwargs", "input_shape", "input_dim", "lora_rank", "lora_alpha"}
NOT_IN_CONFIG |= {"attention_axes", "flash_attention"}
NOT_IN_CONFIG |= {"common", "unknown"}  # collected keywords
NOT_IN_CONFIG |= {"shape", "batch_size", "input_tensor"}  # of InputLayer, which has batch_shape
NOT_IN_CONFIG |= {"use_cudnn"}  # which changes nothing
NOT_IN_CONFIG |= {"weights"}  # first values of Bidirectional, which a model saves as its weights
NOT_IN_CONFIG |= {
    "dtype",
    "axis",
    "from_sorted_ids",
    "learning_rate_factor",
}  # in it only if they say something
BASES = {*(base for _, base in FAMILIES), layers.FunctionLayer}  # functions are never saved
CLASSES = [
    pytest.param(cls, module, base, id=f"{module.__name__[7:]}-{name}")
    for module, base in FAMILIES
    for name, cls in public_classes(module, base).items()
    if cls not in BASES
]


def instances(cls):
    """Objects of a class: from EXAMPLES, and the default if all arguments have one."""
    found = [example for example in EXAMPLES if type(example) is cls]
    required = [
        p
        for p in inspect.signature(cls).parameters.values()
        if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD
    ]
    return found if required or cls is layers.InputLayer else [*found, cls()]


@pytest.mark.parametrize(("cls", "module", "base"), CLASSES)
def test_every_public_class_makes_the_same_object_again(cls, module, base):
    made = instances(cls)
    assert made, f"{cls.__name__} needs arguments: add an object to EXAMPLES"
    classes = public_classes(module, base)
    for thing in made:
        description = json.loads(json.dumps(describe(thing)))
        again = from_description(description, classes, "thing")
        assert type(again) is cls
        assert again is not thing
        assert again.get_config() == thing.get_config()
        arguments = set(inspect.signature(cls.__init__).parameters) - NOT_IN_CONFIG
        if arguments != {"args"}:
            kept = set(thing.get_config()) | {"activity_regularizer"}
            assert arguments <= kept, "an argument that the config forgets"


def test_layers_serialize_and_deserialize():
    for example in EXAMPLES:
        if isinstance(example, layers.Layer):
            again = layers.deserialize(layers.serialize(example))
            assert again.get_config() == example.get_config()
    with pytest.raises(ArgumentError, match="takes a layer, got 3"):
        layers.serialize(3)


@pytest.mark.parametrize("get", [regularizers.get, constraints.get, initializers.get])
def test_get_takes_descriptions(get):
    name = {regularizers.get: "L2", constraints.get: "MaxNorm"}.get(get, "HeNormal")
    made = get(name)
    assert get(describe(made)).get_config() == made.get_config()
    with pytest.raises(ArgumentError, match="Unknown"):
        get({"class_name": "os.system", "config": {"command": "true"}})
    with pytest.raises(ArgumentError, match=f"config of {name} does not fit"):
        get({"class_name": name, "config": {"colour": 3}})


# ---------------------------------------------------------------------------------- models


def load(name):
    spec = importlib.util.spec_from_file_location(name, GOLDEN / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


keras_models = load("keras_models")
KERAS = json.loads(keras_models.PATH.read_text())
NAMES = ("stack", "graph", "nested", "recurrent", "structures")
MODELS = {name: getattr(keras_models, name) for name in NAMES}


def same_outputs(first, second):
    """Whether two models compute the same from the same weights."""
    second.set_weights(first.get_weights())
    shapes = [tensor.shape[1:] for tensor in first.graph.inputs]
    rng = np.random.default_rng(0)
    x = [rng.standard_normal((3, *shape)).astype(np.float32) for shape in shapes]
    results = [m.predict(x if len(x) > 1 else x[0], verbose=0) for m in (first, second)]
    ours, theirs = map(flatten, results)
    return all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


def random_models(random_model):
    return [random_model(seed, outputs=2) for seed in range(4)]


@pytest.mark.parametrize("name", MODELS)
def test_models_make_the_same_model_again(name):
    model = MODELS[name](gpunet)
    again = type(model).from_config(json.loads(json.dumps(model.get_config())))
    assert again.get_config() == model.get_config()
    assert again.name == model.name
    assert same_outputs(model, again)
    text = model.to_json()
    read = model_from_json(text)
    assert type(read) is type(model)
    assert read.is_compiled == model.is_compiled
    assert read.to_json() == text
    assert clone_model(model).get_config() == model.get_config()
    assert same_outputs(model, clone_model(model))


@pytest.mark.parametrize("name", MODELS)
def test_what_keras_wrote_is_read(name):
    read, own = model_from_json(json.dumps(KERAS[name])), MODELS[name](gpunet)
    own.graph  # noqa: B018 - which builds a Sequential
    assert same_outputs(own, read)
    assert read.name == own.name
    assert read.is_compiled == own.is_compiled
    if read.is_compiled:
        assert read.optimizer.learning_rate == 0.125
        assert read.metric_names == own.metric_names


def test_masks_that_keras_wrote_as_layers_are_those_of_the_tensors():
    read = model_from_json(json.dumps(KERAS["translator"]))
    own = keras_models.translator(gpunet)
    read.set_weights(own.get_weights())
    words = np.array([[3, 1, 4, 0, 0, 0, 0], [1, 5, 9, 2, 6, 5, 3]])
    x = [words, np.random.default_rng(0).standard_normal((2, 5, 3))]
    ys = read.predict(x, verbose=0), own.predict(x, verbose=0)
    np.testing.assert_array_equal(*ys)


def test_operators_that_keras_wrote_are_those_of_gpunet():
    read = model_from_json(json.dumps(KERAS["operators"]))
    own = keras_models.operators(gpunet)
    x = list(np.random.default_rng(0).standard_normal((2, 2, 4, 3)))
    for mine, theirs in zip(own.predict(x, verbose=0), read.predict(x, verbose=0), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    entries = KERAS["operators"]["config"]["layers"]
    assert {layer.name for layer in read.layers} == {entry["name"] for entry in entries}
    ours = json.loads(own.to_json())["config"]["layers"]
    assert slices(ours) == slices(entries)


def slices(entries):
    """What Keras' op GetItem is given beside its tensor; the order of the entries may differ."""
    ops = [entry for entry in entries if entry["class_name"] == "GetItem"]
    assert all(entry["module"] == "keras.src.ops.numpy" for entry in ops)
    return sorted(json.dumps(entry["inbound_nodes"][0]["args"][1:]) for entry in ops)


@pytest.mark.parametrize("name", MODELS)
def test_configs_have_keras_keys(name):
    """What gpunet writes is a part of what Keras writes: the same keys, the same values."""
    theirs = copy.deepcopy(KERAS[name])
    assert_part_of(json.loads(MODELS[name](gpunet).to_json())["config"], theirs["config"])


def assert_part_of(ours, theirs):
    for mine, keras in zip(ours["layers"], theirs["layers"], strict=True):
        assert mine["class_name"] == keras["class_name"]
        assert set(mine) <= set(keras) | {"name"}
        # Keras forgets the seed of SimpleRNN.
        assert set(mine["config"]) <= set(keras["config"]) | {"seed"}
        if "layers" in mine["config"]:
            assert_part_of(mine["config"], keras["config"])
        for key, value in mine["config"].items():
            if not isinstance(value, dict) and key not in ("name", "layers"):
                assert keras["config"].get(key) == value, key
        for call in keras.get("inbound_nodes", []):
            if call["kwargs"] in ({"mask": None}, {"training": False, "mask": None}):
                call["kwargs"] = {}
        assert mine.get("inbound_nodes") == keras.get("inbound_nodes")
    for key in ("input_layers", "output_layers"):
        assert ours.get(key) == theirs.get(key)


def test_a_stack_whose_input_is_not_known_yet():
    model = Sequential([layers.Dense(3), layers.Dense(2)])
    again = Sequential.from_config(model.get_config())
    assert not again.built
    again.build((None, 4))
    assert again.count_params() == 23
    assert not clone_model(model).built


def test_clone_function():
    model = MODELS["graph"](gpunet)

    def wider(layer):
        config = layer.get_config()
        return type(layer).from_config(config | {"name": f"copy_of_{layer.name}"})

    copies = clone_model(model, wider).layers
    assert [copy.name for copy in copies[:3]] == ["a", "b", "copy_of_shared"]
    with pytest.raises(ArgumentError, match="clone_model takes a model, got Dense"):
        clone_model(layers.Dense(3))


class Doubled(layers.Layer):
    def __init__(self, factor=2.0, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def forward(self, op, c):
        op.scale_shift(c.y, c.x, scale=self.factor, offset=0.0)

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}


class Halved(constraints.Constraint):
    def record(self, op, weight):
        op.scale_shift(weight, weight, scale=0.5, offset=0.0)


def test_custom_objects():
    model = Sequential([Doubled(3.0, input_dim=2), layers.Dense(2, kernel_constraint=Halved())])
    text = model.to_json()
    for name in ("Doubled", "Halved"):
        custom = {"Doubled": Doubled, "Halved": Halved}
        del custom[name]
        with pytest.raises(ArgumentError, match=f"Unknown .* '{name}'"):
            model_from_json(text, custom)
    read = model_from_json(text, {"Doubled": Doubled, "Halved": Halved})
    assert read.layers[0].factor == 3.0
    assert isinstance(read.layers[1].kernel_constraint, Halved)
    assert isinstance(clone_model(model).layers[1].kernel_constraint, Halved)
    with pytest.raises(ArgumentError, match="custom_objects must be a dict"):
        model_from_json(text, {"Doubled": print})
    with pytest.raises(ArgumentError, match="where a layer was expected"):
        layers.deserialize({"class_name": "Halved", "config": {}}, {"Halved": Halved})


# ------------------------------------------------------------------------------- mistakes


def with_class(name, module="os"):
    changed = copy.deepcopy(KERAS["stack"])
    changed["config"]["layers"][1].update(class_name=name, module=module, registered_name=name)
    return json.dumps(changed)


@pytest.mark.parametrize("name", ["system", "os.system", "Lambda", "Layer", "Context", "__class__"])
def test_unknown_classes_are_refused(name):
    with pytest.raises(ArgumentError, match=f"Unknown layer '{name}'.*custom_objects"):
        model_from_json(with_class(name))


def test_a_typo_gets_a_suggestion():
    with pytest.raises(ArgumentError, match="Unknown layer 'Dens': did you mean 'Dense'"):
        model_from_json(with_class("Dens", "keras.layers"))


def test_nothing_is_imported(tmp_path, monkeypatch):
    (tmp_path / "evil_module.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    assert model_from_json(with_class("Dense", "evil_module")).layers[0].units == 3
    with pytest.raises(ArgumentError, match="Unknown layer"):
        model_from_json(with_class("Evil", "evil_module"))


BROKEN = [
    "",
    "{",
    "[]",
    "3",
    "null",
    "[" * 100_000,
    '{"class_name": "Sequential"}',
    '{"class_name": "Sequential", "config": {"layers": 3}}',
    '{"class_name": "Sequential", "config": {"layers": [3]}}',
    '{"class_name": "Sequential", "config": {"layers": [{"class_name": "Dense"}]}}',
    '{"class_name": "Sequential", "config": {"name": 3, "layers": []}}',
    '{"class_name": "Functional", "config": {"layers": []}}',
    '{"class_name": "os", "config": {}}',
    '{"class_name": ["Sequential"], "config": {}}',
]


@pytest.mark.parametrize("text", BROKEN, ids=lambda text: text[:40])
def test_broken_json(text):
    with pytest.raises(ArgumentError) as raised:
        model_from_json(text)
    assert len(str(raised.value)) < 400


def places(value, path=()):
    """All places in nested lists and dicts."""
    yield path
    items = value.items() if isinstance(value, dict) else ()
    items = enumerate(value) if isinstance(value, list) else items
    for key, inner in items:
        yield from places(inner, (*path, key))


WRONG = [None, True, -1, 3, 0.5, "x", [], {}, [[]], {"class_name": "Dense"}, ["shared", 7, 0]]


@pytest.mark.parametrize("name", MODELS)
def test_a_config_with_anything_wrong_raises_nothing_but_gpunets_errors(name):
    """Each place of a config replaced by each of many wrong values."""
    choose = random.Random(0)
    spots = [path for path in places(KERAS[name]) if path]
    failures = 0
    for path in spots:
        changed = copy.deepcopy(KERAS[name])
        target = changed
        for key in path[:-1]:
            target = target[key]
        target[path[-1]] = choose.choice(WRONG)
        try:
            model_from_json(json.dumps(changed))
        except GpunetError:
            failures += 1
    assert failures > len(spots) / 3


def test_a_config_may_not_be_nested_too_deeply():
    graph = copy.deepcopy(KERAS["graph"])
    graph["config"]["output_layers"] = "DEEP"
    text = json.dumps(graph).replace('"DEEP"', "[" * 950 + "]" * 950)
    with pytest.raises(ArgumentError, match=r"nested too deeply|is no JSON"):
        model_from_json(text)


def test_a_cycle_and_a_missing_end():
    graph = copy.deepcopy(KERAS["graph"])
    nodes = graph["config"]["layers"][2]["inbound_nodes"]
    nodes[0]["args"][0]["config"]["keras_history"] = ["flat", 0, 0]
    with pytest.raises(ArgumentError, match="these never come"):
        model_from_json(json.dumps(graph))
    graph = copy.deepcopy(KERAS["graph"])
    graph["config"]["output_layers"] = [["shared", 3, 0]]
    with pytest.raises(ArgumentError, match="is no call of a layer"):
        model_from_json(json.dumps(graph))


def test_arguments_that_gpunet_does_not_have():
    stack = copy.deepcopy(KERAS["stack"])
    stack["config"]["layers"][1]["config"]["dtype"] = "float16"
    with pytest.raises(ArgumentError, match="Dense has no argument 'dtype'"):
        model_from_json(json.dumps(stack))
    stack = copy.deepcopy(KERAS["stack"])
    stack["compile_config"]["auto_scale_loss"] = "sometimes"
    with pytest.raises(ArgumentError, match="auto_scale_loss"):
        model_from_json(json.dumps(stack))


def test_compile_arguments_of_all_kinds():
    x = Input((3,))
    model = Model(x, layers.Dense(2, "softmax")(x))
    loss = losses.CategoricalCrossentropy(name="mine")
    model.compile(optimizers.Adam(0.25), loss, metrics=[metrics.Accuracy(name="hits")])
    read = model_from_json(model.to_json())
    assert read.loss.get_config() == loss.get_config()
    assert read.metric_names == ["loss", "hits"]
    model.compile(optimizers.SGD, losses.categorical_crossentropy, None)
    assert type(model_from_json(model.to_json()).loss) is losses.CategoricalCrossentropy
