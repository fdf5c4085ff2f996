"""Ops as plain functions: what they accept, where they run, what they say."""

import doctest
import functools
import os
import shutil

import numpy as np
import pytest

from gpunet import ops
from gpunet.backend import backend_named
from gpunet.backend.spec import OPS
from gpunet.errors import ArgumentError, DtypeError, ShapeError

X = np.array([[1.0, 2.0, 3.0], [1.0, 1.0, 1.0]], np.float32)


class Foreign:
    """Another library's array: DLPack and nothing else."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **keywords):
        return self.array.__dlpack__(**keywords)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


@functools.cache
def emulator():
    if not shutil.which("g++"):
        assert os.environ.get("CI") != "true", "CI has to run the kernels, and there is no g++"
        pytest.skip("the emulator needs g++")
    return backend_named("emulator")


def test_every_op_is_a_function_with_an_example():
    finder = doctest.DocTestFinder(recurse=False)
    for name in OPS:
        assert finder.find(getattr(ops, name), name)[0].examples, name


def test_examples():
    assert doctest.testmod(ops).failed == 0


def test_lists_become_float32():
    y = ops.softmax([[1, 2], [3, 4]])
    assert type(y) is np.ndarray
    assert y.dtype == np.float32


def test_lists_follow_the_dtype_of_arrays():
    x = np.ones((2, 3))
    assert ops.bias_act(x, bias=[1, 2, 3]).dtype == np.float64
    assert ops.cosine_similarity(x, [[1, 1, 1], [0, 0, 0]])[0].dtype == np.float64


@pytest.mark.parametrize("shape", [(5,), (4, 5), (2, 3, 5), (0, 5), (2, 0, 5)])
def test_softmax_of_any_rank_works_on_the_last_axis(shape):
    x = np.random.default_rng(0).standard_normal(shape)
    y = ops.softmax(x)
    exps = np.exp(x)
    np.testing.assert_allclose(y, exps / exps.sum(axis=-1, keepdims=True))
    assert ops.softmax_backward(y, y).shape == shape


def test_bias_act_of_any_rank():
    x = np.random.default_rng(0).standard_normal((2, 3, 5))
    y = ops.bias_act(x, bias=np.ones(5), activation="tanh")
    np.testing.assert_allclose(y, np.tanh(x + 1))
    dx, dbias = ops.bias_act_backward(x, y, activation="tanh")
    np.testing.assert_allclose(dx, x * (1 - y**2))
    np.testing.assert_allclose(dbias, dx.sum(axis=(0, 1)))


@pytest.mark.parametrize("function", [ops.softmax, ops.bias_act])
def test_a_number_has_no_last_axis(function):
    with pytest.raises(ShapeError, match="at least one axis"):
        function(3.0)
    with pytest.raises(ShapeError, match="at least one axis"):
        function(np.float32(3.0))


def test_unusual_strides():
    x = np.random.default_rng(0).standard_normal((6, 8))
    for view in (x.T, x[::-1, ::2], np.asfortranarray(x), np.broadcast_to(x[0], (3, 8))):
        np.testing.assert_allclose(ops.softmax(view), ops.softmax(view.copy()))
        np.testing.assert_allclose(ops.gemm(view, view, tb=True), view @ view.T)


@pytest.mark.parametrize("ta", [False, True])
@pytest.mark.parametrize("tb", [False, True])
def test_gemm(ta, tb):
    random = np.random.default_rng(0)
    a, b = random.standard_normal((4, 3)), random.standard_normal((3, 5))
    result = ops.gemm(a.T.copy() if ta else a, b.T.copy() if tb else b, ta=ta, tb=tb)
    np.testing.assert_allclose(result, a @ b)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int32", "int64", "uint64"])
def test_labels_of_any_integer_type(dtype):
    labels = np.array([2, 0], dtype)
    loss, dx = ops.softmax_cross_entropy(X, labels)
    wanted, _ = ops.softmax_cross_entropy(X, np.eye(3, dtype=np.float32)[labels])
    np.testing.assert_allclose(loss, wanted, rtol=1e-6)
    assert dx.shape == X.shape
    assert ops.accuracy(X, labels).tolist() == [1.0, 1.0]


def test_one_hot_labels_may_be_integers():
    loss, _ = ops.softmax_cross_entropy(X, np.eye(3, dtype=np.int64)[[2, 0]])
    np.testing.assert_allclose(loss, ops.softmax_cross_entropy(X, [2, 0])[0], rtol=1e-6)


@pytest.mark.parametrize("wrong", [3, -1, 2**32, -(2**40)])
def test_labels_outside_give_nan(wrong):
    loss, _ = ops.softmax_cross_entropy(X, np.array([2, wrong], np.int64))
    assert np.isnan(loss).tolist() == [False, True]


def test_sample_weight_and_scale():
    zeros, weights = np.zeros_like(X), [0.5, 2.0]
    loss, dx = ops.elementwise_loss(X, zeros, weights, scale=3.0, kind="squared")
    np.testing.assert_allclose(loss, [0.5 * 14 / 3, 2.0], rtol=1e-6)
    np.testing.assert_allclose(dx, [X[0], [4.0, 4.0, 4.0]], rtol=1e-6)


def test_label_smoothing_and_an_ignored_class():
    one_hot = np.eye(3, dtype=np.float32)[[2, 0]]
    smooth, _ = ops.softmax_cross_entropy(X, one_hot, label_smoothing=0.3)
    wanted, _ = ops.softmax_cross_entropy(X, 0.7 * one_hot + 0.1)
    np.testing.assert_allclose(smooth, wanted, rtol=1e-6)
    loss, dx = ops.softmax_cross_entropy(X, [2, -1], ignore_class=-1)
    assert loss[1] == 0.0
    assert not dx[1].any()
    weights = ops.normalized_weights([0.5, 1.5, 2.0], [1, 7, 0], ignore_class=7)
    np.testing.assert_allclose(weights, [0.2, 0.0, 0.8], rtol=1e-6)


def test_gather_keeps_the_shape_of_samples():
    images = np.arange(5 * 2 * 3, dtype=np.uint8).reshape(5, 2, 3)
    np.testing.assert_array_equal(ops.gather(images, [4, 1]), images[[4, 1]])
    assert ops.gather(images, [4, 1]).dtype == np.uint8
    batch = ops.gather(images, np.array([0]), scale=0.5, offset=1.0, dtype=np.float32)
    np.testing.assert_allclose(batch, 0.5 * images[:1] + 1)
    assert ops.gather([1.0, 2.0], [1]).dtype == np.float32
    assert ops.gather(images, np.zeros(0, np.int64)).shape == (0, 2, 3)
    with pytest.raises(ArgumentError, match=r"indices in \[0, 5\), got 5 to 5"):
        ops.gather(images, [5])


def test_copy_is_new_memory():
    y = ops.copy(X)
    assert not np.may_share_memory(y, X)
    np.testing.assert_array_equal(y, X)
    assert ops.copy(np.arange(3)).dtype == np.int64


def test_dropout_is_numbered():
    x = np.ones(1000, np.float32)
    first = ops.dropout(x, 0.5, seed=1, node=2, number=3)
    assert (first == ops.dropout(x, 0.5, seed=1, node=2, number=3)).all()
    for other in ({"seed": 9}, {"node": 9}, {"number": 9}):
        moved = ops.dropout(x, 0.5, **{"seed": 1, "node": 2, "number": 3, **other})
        assert (first != moved).any()
    with pytest.raises(ArgumentError, match="rate"):
        ops.dropout(x, 1.0)


def test_optimizers_work_where_the_arrays_are():
    weights, velocity = np.ones((2, 3)), np.zeros((2, 3))
    for _ in range(2):
        ops.sgd(weights, np.ones((2, 3)), velocity, learning_rate=0.1, momentum=0.5)
    np.testing.assert_allclose(weights, 1 - 0.1 - 0.15)
    moments = np.zeros((2, 3)), np.zeros((2, 3))
    for step in range(2):
        ops.adam(weights, np.ones((2, 3)), *moments, step=step, learning_rate=0.1)
    np.testing.assert_allclose(weights, 0.75 - 0.2, rtol=1e-6)


def test_what_is_updated_must_be_an_array():
    ones = np.ones((4, 4))
    with pytest.raises(ArgumentError, match="updates 'weights' where it is"):
        ops.sgd(ones[:, ::2], np.ones((4, 2)))
    with pytest.raises(ArgumentError, match="updates 'weights' where it is"):
        ops.sgd([1.0], [1.0])
    with pytest.raises(ShapeError, match="velocity must have the shape of weights"):
        ops.sgd(ones, ones, np.ones(4))
    with pytest.raises(ArgumentError, match="updates 'y' where it is"):
        ops.fill([1.0], 2.0)


def test_errors_name_op_and_array():
    with pytest.raises(ShapeError, match="op softmax_backward: y of shape"):
        ops.softmax_backward(np.ones((3, 4)), np.ones((3, 5)))
    with pytest.raises(ShapeError, match="op gemm: b of shape"):
        ops.gemm(np.ones((3, 4)), np.ones((3, 5)))
    with pytest.raises(ShapeError, match="op gemm: a must have the shape"):
        ops.gemm(np.ones(3), np.ones((3, 5)))
    with pytest.raises(DtypeError, match="x must be float32, got int64"):
        ops.softmax(np.ones((3, 4), np.int64))
    with pytest.raises(DtypeError, match="must be float32, got float64"):
        ops.add(np.ones(3, np.float32), np.ones(3))
    with pytest.raises(ArgumentError, match="activation"):
        ops.bias_act(X, activation="reul")
    with pytest.raises(ArgumentError, match=r"knows the kinds squared, .*got 'cubed'"):
        ops.elementwise_loss(X, X, kind="cubed")
    with pytest.raises(ArgumentError, match=r"with elu takes \(alpha\), got \(1.0, 2.0\)"):
        ops.bias_act(X, activation="elu", parameters=(1.0, 2.0))
    with pytest.raises(ArgumentError, match="with tanh takes no parameters, got"):
        ops.bias_act(X, activation="tanh", parameters=(1.0,))
    with pytest.raises(ArgumentError, match="op bias_act_backward needs an array for 'saved'"):
        ops.bias_act_backward(X, None, activation="relu")
    with pytest.raises(ArgumentError, match="needs an array for 'labels'"):
        ops.accuracy(X, None)


def test_dlpack_on_the_cpu():
    np.testing.assert_array_equal(ops.softmax(Foreign(X)), ops.softmax(X))
    loss, _ = ops.softmax_cross_entropy(Foreign(X), Foreign(np.array([0, 1])))
    np.testing.assert_array_equal(loss, ops.softmax_cross_entropy(X, [0, 1])[0])


def test_dlpack_arrays_are_updated_where_they_are():
    weights = np.ones(3)
    if np.from_dlpack(weights).flags.writeable:
        ops.sgd(Foreign(weights), Foreign(np.ones(3)), learning_rate=0.5)
        assert weights.tolist() == [0.5, 0.5, 0.5]
    else:  # NumPy 1 takes no writeable arrays
        with pytest.raises(ArgumentError, match="writeable"):
            ops.sgd(Foreign(weights), Foreign(np.ones(3)))


@pytest.mark.emulator
def test_device_arrays_stay_on_their_device():
    backend = emulator()
    x = backend.from_numpy(X)
    y = ops.softmax(x)
    assert backend.owns(y)
    np.testing.assert_allclose(backend.to_numpy(y), ops.softmax(X), rtol=1e-6)
    loss, dx = ops.softmax_cross_entropy(x, [2, 0])
    wanted = ops.softmax_cross_entropy(X, [2, 0])
    np.testing.assert_allclose(backend.to_numpy(loss), wanted[0], rtol=1e-6)
    np.testing.assert_allclose(backend.to_numpy(dx), wanted[1], atol=1e-6)
    labels = backend.from_numpy(np.array([2, 2**40]))
    assert np.isnan(backend.to_numpy(ops.softmax_cross_entropy(x, labels)[0])).tolist() == [
        False,
        True,
    ]
    np.testing.assert_allclose(backend.to_numpy(ops.gemm(x.T, x)), X.T @ X, rtol=1e-6)
    np.testing.assert_allclose(backend.to_numpy(ops.gather(x, [1])), X[1:])


@pytest.mark.emulator
def test_one_op_on_two_devices():
    with pytest.raises(ArgumentError, match="one device, got a on emulator, b on numpy"):
        ops.add(emulator().from_numpy(X), X)
