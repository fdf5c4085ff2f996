"""Fusion and the sharing of memory never change a number."""

import numpy as np
import pytest

from gpunet import Input, Model, Sequential, layers, optimizers
from gpunet.engine.plan import ALIGNMENT, PLANS_KEPT, Plan
from gpunet.engine.recorder import Recorder

SEEDS = range(25)


def run_numbers(model, x):
    """Outputs, gradients of inputs and of weights of one pass with dropout."""
    model.passes = 7
    run = model.run(x, training=True)
    rng = np.random.default_rng(0)
    dx = run.backward(rng.standard_normal(run.y.shape))
    return [run.y, *dx, *model.get_gradients()]


def step_numbers(model, x, y):
    """Loss, metric, gradients and weights of one training step."""
    model.passes = 7
    results = model.train_on_batch(x, y, np.linspace(0.5, 1.5, len(y)))
    return [np.array(results), *model.get_gradients(), *model.get_weights()]


def double_model(random_model, seed):
    model = random_model(seed)
    loss = {"softmax": "categorical_crossentropy", "sigmoid": "binary_crossentropy"}
    end = model.layers[-1].activation.name
    model.compile(optimizers.SGD(0.1, momentum=0.9), loss.get(end, "mse"), metrics=["accuracy"])
    return model.to(dtype="float64")


@pytest.mark.parametrize("way", ["unfused", "unshared"])
@pytest.mark.parametrize("seed", SEEDS)
def test_random_graphs_give_the_same_numbers_as_without(
    seed, way, random_model, random_inputs, poisoned, request
):
    model, x = double_model(random_model, seed), random_inputs(seed)
    y = np.eye(3)[np.random.default_rng(seed).integers(0, 3, 5)]
    weights, results = model.get_weights(), []
    for plain in (False, True):
        model.set_weights(weights)
        model.forget_plans()
        model.optimizer = optimizers.SGD(0.1, momentum=0.9)
        with poisoned():
            if plain:
                with request.getfixturevalue(way)():
                    results.append([*run_numbers(model, x), *step_numbers(model, x, y)])
            else:
                results.append([*run_numbers(model, x), *step_numbers(model, x, y)])
    for ours, plain_one in zip(*results, strict=True):
        np.testing.assert_allclose(ours, plain_one, rtol=1e-9, atol=1e-12)
        assert np.isfinite(ours).all()


def wide_mlp():
    stack = [layers.Dense(512, "relu", input_dim=784), layers.Dense(512, "relu")]
    model = Sequential([*stack, layers.Dense(10, "softmax")])
    model.compile(
        optimizers.SGD(0.1, momentum=0.9), "sparse_categorical_crossentropy", metrics=["acc"]
    )
    return model


def test_a_training_step_of_a_classifier_is_these_thirteen_launches(ops_of):
    plan = wide_mlp().training_plan(32)
    assert ops_of(plan) == [
        "next_batch",  # which samples
        "gather",  # the mini-batch's samples
        "gather",  # and labels
        "gemm_bias_act",  # three layers forward, each in one launch
        "gemm_bias_act",
        "gemm_bias_act",
        "softmax_cross_entropy",  # loss, accuracy and the gradient of the logits
        "gemm_column_sum",  # dkernel and dbias of the last layer
        "gemm_act_backward",  # dx through the relu below
        "gemm_column_sum",
        "gemm_act_backward",
        "gemm_column_sum",  # the gradient of the data is not wanted
        "sgd",  # all weights at once
    ]
    assert len(plan.records) <= 16


def test_memory_of_a_step_is_less_than_that_of_its_activations():
    plan = wide_mlp().training_plan(256)
    apart = sum(
        storage.nbytes
        for storage in {b.storage for r in plan.records for _, b in r.items()}
        if storage.resolve is None
    )
    assert plan.nbytes < apart
    assert all(offset % ALIGNMENT == 0 for offset in plan.offsets.values())


def test_inference_reuses_memory_however_deep_the_model_is(ops_of):
    stack = [layers.Dense(64, "tanh") for _ in range(30)]
    model = Sequential([layers.Dense(64, "tanh", input_dim=64), *stack])
    plan = model.inference_plan(16)
    assert ops_of(plan) == ["gemm_bias_act"] * 31
    assert plan.nbytes <= 4 * 16 * 64 * 4  # input and output live through all of it


def test_copies_of_a_merge_are_left_out_where_dy_dies_there(ops_of):
    x = Input((4,))
    y = layers.Add()([layers.Dense(4, "tanh")(x), layers.Dense(4, "tanh")(x)])
    model = Model(x, y)
    model.compile("sgd", "mse")
    assert ops_of(model.training_plan(8)).count("copy") <= 1


@pytest.mark.parametrize("twice", [False, True])
def test_an_op_runs_in_place_unless_it_reads_the_memory_twice(twice):
    op = Recorder("float32")
    data, x, y = (op.scratch((4, 3), name=name) for name in ("data", "x", "y"))
    op.copy(x, data)
    op.softmax_backward(y, x, x if twice else data)
    z = op.scratch((4, 3))
    op.copy(z, y)
    plan = Plan(op.records, [data, z], fused=False)
    assert (plan.offsets[y.storage] == plan.offsets[x.storage]) is not twice


def test_layers_that_pass_through_run_nothing(ops_of):
    stack = [layers.Flatten(), layers.Activation("linear"), layers.Reshape((3, 4))]
    model = Sequential([layers.Dense(4, input_shape=(3, 2)), layers.Dropout(0.5), *stack])
    assert ops_of(model.inference_plan(2)) == ["gemm_bias_act"]


def test_plans_are_made_once_and_the_last_ones_are_kept(mlp):
    model = mlp()
    first = model.training_plan(1)
    assert model.training_plan(1) is first
    for rows in range(2, PLANS_KEPT + 1):
        model.training_plan(rows)
    assert model.training_plan(1) is first
    for rows in range(2, PLANS_KEPT + 2):
        model.training_plan(rows)
    assert model.training_plan(1) is not first
