"""Each rule of fusion on the smallest list of ops that triggers it, and where it must not."""

import numpy as np
import pytest

from gpunet.engine.fusion import fuse
from gpunet.engine.recorder import Recorder


class Tape:
    """A recorder with buffers by name: ``tape("x", 4, 3)``; names in ``kept`` are wanted after."""

    def __init__(self):
        self.op = Recorder("float32")
        self.buffers = {}

    def __call__(self, name, *shape, dtype=None):
        if name not in self.buffers:
            self.buffers[name] = self.op.scratch(shape, dtype, name=name)
        return self.buffers[name]

    def outside(self, name, *shape, dtype="float32"):
        """A buffer that lives outside of the arena."""
        if name not in self.buffers:
            array = np.zeros(shape, dtype)
            self.buffers[name] = self.op.external(name, shape, dtype, lambda: array)
        return self.buffers[name]

    def fused(self, *kept):
        """The names of the ops after fusion."""
        records = fuse(self.op.records, {self.buffers[name].storage for name in kept})
        return [record.op.name for record in records]

    def loss(self, name, x, dx):
        """A loss of x with labels, and the running totals."""
        totals = self.outside("totals", 2, dtype="float64")
        arrays = (dx, self("loss", 4), None, totals, None, x, self("labels", 4, 3), None)
        getattr(self.op, name)(*arrays, scale=1.0)

    def accuracy(self, x):
        totals = self.outside("right", 2, dtype="float64")
        self.op.accuracy(self("correct", 4), totals, x, self("labels", 4, 3))


@pytest.fixture
def tape():
    return Tape()


def product(t):
    """z = a b."""
    t.op.gemm(t("z", 4, 3), t("a", 4, 5), t("b", 5, 3))


def epilogue(t, activation="relu"):
    """y = activation(z + bias)."""
    t.op.bias_act(t("y", 4, 3), t("z", 4, 3), t("bias", 3), activation=activation)


def dense_backward(t, activation="relu"):
    """dz, dbias, dkernel."""
    y = None if activation == "linear" else t("y", 4, 3)
    t.op.bias_act_backward(t("dz", 4, 3), t("dbias", 3), t("dy", 4, 3), y, activation=activation)
    t.op.gemm(t("dkernel", 5, 3), t("x", 4, 5), t("dz", 4, 3), ta=True)


def read(t, name):
    """Somebody else who reads a buffer, and is wanted."""
    buffer = t.buffers[name]
    t.op.add(t(f"{name} elsewhere", *buffer.shape), buffer, buffer)


# ------------------------------------------------------------------ products and epilogues


def test_product_bias_and_activation_become_one(tape):
    product(tape)
    epilogue(tape)
    assert tape.fused("y") == ["gemm_bias_act"]


def test_a_product_that_somebody_else_reads_stays(tape):
    product(tape)
    epilogue(tape)
    read(tape, "z")
    assert tape.fused("y", "z elsewhere") == ["gemm", "bias_act", "add"]


def test_a_product_that_is_wanted_afterwards_stays(tape):
    product(tape)
    epilogue(tape)
    assert tape.fused("y", "z") == ["gemm", "bias_act"]


def test_a_product_whose_input_changes_meanwhile_stays(tape):
    product(tape)
    tape.op.fill(tape("a"), value=1.0)
    epilogue(tape)
    assert tape.fused("y", "a") == ["gemm", "fill", "bias_act"]


def test_a_product_that_is_not_the_only_writer_stays(tape):
    tape.op.fill(tape("z", 4, 3), value=0.0)
    product(tape)
    epilogue(tape)
    assert tape.fused("y") == ["fill", "gemm", "bias_act"]


def test_a_product_and_an_activation_that_follows_its_bias_become_one(tape):
    product(tape)
    epilogue(tape, "linear")
    tape.op.bias_act(tape("p", 4, 3), tape("y"), None, activation="elu", parameters=(0.5,))
    (record,) = fuse(tape.op.records, {tape("p").storage})
    assert record.op.name == "gemm_bias_act"
    assert record["bias"] == tape("bias")
    assert (record.attributes["activation"], record.attributes["parameters"]) == ("elu", (0.5,))


def test_a_bias_and_an_activation_become_one_across_a_reshape(tape):
    epilogue(tape, "linear")
    tape.op.bias_act(tape("p", 6, 2), tape("y").reshape(6, 2), None, activation="gelu")
    (record,) = fuse(tape.op.records, {tape("p").storage})
    assert (record["y"].shape, record.attributes["activation"]) == ((4, 3), "gelu")


@pytest.mark.parametrize("why", ["read", "wanted", "second bias", "not linear"])
def test_an_activation_whose_input_is_needed_stays(tape, why):
    product(tape)
    epilogue(tape, "relu" if why == "not linear" else "linear")
    bias = tape("bias") if why == "second bias" else None
    tape.op.bias_act(tape("p", 4, 3), tape("y"), bias, activation="gelu")
    kept = ["p"]
    if why == "read":
        read(tape, "y")
        kept.append("y elsewhere")
    if why == "wanted":
        kept.append("y")
    assert tape.fused(*kept)[:2] == ["gemm_bias_act", "bias_act"]


def test_a_gradient_in_terms_of_the_input_joins_the_product(tape):
    tape.op.gemm(tape("dy", 4, 3), tape("dz1", 4, 5), tape("kernel", 3, 5), tb=True)
    arrays = (tape("dz", 4, 3), None, tape("dy"), tape("z", 4, 3))
    tape.op.bias_act_backward(*arrays, activation="silu")
    (record,) = fuse(tape.op.records, {tape("dz").storage})
    assert record.op.name == "gemm_act_backward"
    assert record["saved"] == tape("z")


def test_an_epilogue_on_other_rows_stays(tape):
    product(tape)
    z = tape("z").reshape(3, 4)
    tape.op.bias_act(tape("y", 3, 4), z, tape("bias", 4), activation="relu")
    assert tape.fused("y") == ["gemm", "bias_act"]


def test_a_product_outside_of_the_arena_stays(tape):
    tape.op.gemm(tape.outside("z", 4, 3), tape("a", 4, 5), tape("b", 5, 3))
    epilogue(tape)
    assert tape.fused("y") == ["gemm", "bias_act"]


# --------------------------------------------------------------- gradients of dense layers


def test_gradients_of_kernel_and_bias_become_one(tape):
    dense_backward(tape)
    assert tape.fused("dkernel", "dbias") == ["bias_act_backward", "gemm_column_sum"]


def test_gradients_of_a_linear_layer_need_no_activation(tape):
    dense_backward(tape, "linear")
    assert tape.fused("dkernel", "dbias") == ["copy", "gemm_column_sum"]  # the copy is free


def test_a_bias_gradient_that_is_read_before_the_product_stays(tape):
    tape.op.bias_act_backward(
        tape("dz", 4, 3), tape("dbias", 3), tape("dy", 4, 3), tape("y", 4, 3), activation="relu"
    )
    read(tape, "dbias")
    tape.op.gemm(tape("dkernel", 5, 3), tape("x", 4, 5), tape("dz"), ta=True)
    kept = ("dkernel", "dbias", "dbias elsewhere")
    assert tape.fused(*kept) == ["bias_act_backward", "add", "gemm"]


@pytest.mark.parametrize("layout", ["transposed", "on the left", "other accumulation"])
def test_column_sums_only_of_a_plain_right_factor(tape, layout):
    dz = tape("dz", 4, 4)
    tape.op.bias_act_backward(
        dz, tape("dbias", 4), tape("dy", 4, 4), tape("y", 4, 4), activation="relu"
    )
    a, b = (dz, tape("x", 4, 4)) if layout == "on the left" else (tape("x", 4, 4), dz)
    options = {"tb": layout == "transposed", "accumulate": layout == "other accumulation"}
    tape.op.gemm(tape("dkernel", 4, 4), a, b, **options)
    assert tape.fused("dkernel", "dbias") == ["bias_act_backward", "gemm"]


def test_product_and_derivative_become_one(tape):
    tape.op.gemm(tape("dy", 4, 3), tape("dz1", 4, 5), tape("kernel", 3, 5), tb=True)
    tape.op.bias_act_backward(
        tape("dz", 4, 3), None, tape("dy"), tape("y", 4, 3), activation="tanh"
    )
    assert tape.fused("dz") == ["gemm_act_backward"]


def test_product_and_derivative_become_one_across_a_reshape(tape):
    tape.op.gemm(tape("dy", 4, 6), tape("dz1", 4, 5), tape("kernel", 6, 5), tb=True)
    dy = tape("dy").reshape(8, 3)
    tape.op.bias_act_backward(tape("dz", 8, 3), None, dy, tape("y", 8, 3), activation="tanh")
    assert tape.fused("dz") == ["gemm_act_backward"]


def test_a_gradient_that_somebody_else_reads_stays(tape):
    tape.op.gemm(tape("dy", 4, 3), tape("dz1", 4, 5), tape("kernel", 3, 5), tb=True)
    tape.op.bias_act_backward(
        tape("dz", 4, 3), None, tape("dy"), tape("y", 4, 3), activation="tanh"
    )
    read(tape, "dy")
    assert tape.fused("dz", "dy elsewhere") == ["gemm", "bias_act_backward", "add"]


# ------------------------------------------------------------------------------- copies


def test_a_linear_activation_without_bias_is_a_copy(tape):
    tape.op.bias_act(tape("y", 4, 3), tape("x", 4, 3), None, activation="linear")
    tape.op.bias_act_backward(tape("dx", 4, 3), None, tape("dy", 4, 3), None, activation="linear")
    assert tape.fused("y", "dx") == ["copy", "copy"]


def test_a_linear_activation_with_bias_is_no_copy(tape):
    tape.op.bias_act(tape("y", 4, 3), tape("x", 4, 3), tape("bias", 3), activation="linear")
    assert tape.fused("y") == ["bias_act"]


def test_a_copy_is_added_directly(tape):
    tape.op.copy(tape("p", 4, 3), tape("x", 4, 3))
    tape.op.add(tape("y", 4, 3), tape("y"), tape("p"))
    assert tape.fused("y") == ["add"]


def test_a_copy_that_somebody_else_reads_stays(tape):
    tape.op.copy(tape("p", 4, 3), tape("x", 4, 3))
    tape.op.add(tape("y", 4, 3), tape("y"), tape("p"))
    read(tape, "p")
    assert tape.fused("y", "p elsewhere") == ["copy", "add", "add"]


# ------------------------------------------------------------------------------- losses


def softmax_and_loss(t):
    t.op.softmax(t("y", 4, 3), t("x", 4, 3))
    t.loss("cross_entropy", t("y"), t("dy", 4, 3))
    t.op.softmax_backward(t("dx", 4, 3), t("dy"), t("y"))


def test_cross_entropy_of_a_softmax_is_computed_from_its_logits(tape):
    softmax_and_loss(tape)
    assert tape.fused("dx") == ["softmax_cross_entropy"]


def test_probabilities_that_are_wanted_are_computed_beside_it(tape):
    softmax_and_loss(tape)
    assert tape.fused("dx", "y") == ["softmax", "softmax_cross_entropy"]


def test_a_gradient_of_probabilities_that_somebody_else_reads_stays(tape):
    softmax_and_loss(tape)
    read(tape, "dy")
    kept = ("dx", "dy elsewhere")
    assert tape.fused(*kept) == ["softmax", "cross_entropy", "softmax_backward", "add"]


def test_cross_entropy_of_other_rows_than_those_of_the_softmax_stays(tape):
    tape.op.softmax(tape("y", 2, 6), tape("x", 2, 6))
    tape.loss("cross_entropy", tape("y").reshape(4, 3), None)
    assert tape.fused("loss") == ["softmax", "cross_entropy"]


def test_evaluation_too_is_computed_from_logits(tape):
    tape.op.softmax(tape("y", 4, 3), tape("x", 4, 3))
    tape.loss("cross_entropy", tape("y"), None)
    assert tape.fused() == ["softmax_cross_entropy"]


def sigmoid_and_loss(t):
    product(t)
    epilogue(t, "sigmoid")
    t.loss("binary_cross_entropy", t("y"), t("dy", 4, 3))
    t.op.bias_act_backward(t("dz", 4, 3), None, t("dy"), t("y"), activation="sigmoid")


def test_cross_entropy_of_a_sigmoid_is_computed_from_its_logits(tape):
    sigmoid_and_loss(tape)
    assert tape.fused("dz") == ["gemm_bias_act", "sigmoid_cross_entropy", "copy"]


def test_a_sigmoid_that_is_wanted_is_computed_beside_the_logits(tape):
    sigmoid_and_loss(tape)
    kept = ["gemm_bias_act", "bias_act", "sigmoid_cross_entropy", "copy"]
    assert tape.fused("dz", "y") == kept


def test_a_sigmoid_that_somebody_else_reads_is_computed_beside_the_logits(tape):
    sigmoid_and_loss(tape)
    read(tape, "y")
    kept = ["gemm_bias_act", "bias_act", "sigmoid_cross_entropy", "copy", "add"]
    assert tape.fused("dz", "y elsewhere") == kept


def test_the_loss_of_a_tanh_stays(tape):
    epilogue(tape, "tanh")
    tape.loss("binary_cross_entropy", tape("y"), None)
    assert tape.fused() == ["bias_act", "binary_cross_entropy"]


@pytest.mark.parametrize("loss", ["cross_entropy", "softmax_cross_entropy", "binary_cross_entropy"])
def test_the_loss_counts_what_is_right(tape, loss):
    tape.loss(loss, tape("x", 4, 3), None)
    tape.accuracy(tape("x"))
    assert tape.fused() == [loss]


def test_an_accuracy_of_other_outputs_stays(tape):
    tape.loss("cross_entropy", tape("x", 4, 3), None)
    tape.accuracy(tape("other", 4, 3))
    assert tape.fused() == ["cross_entropy", "accuracy"]


def test_an_accuracy_before_the_loss_stays(tape):
    tape.accuracy(tape("x", 4, 3))
    tape.loss("cross_entropy", tape("x"), None)
    assert tape.fused() == ["accuracy", "cross_entropy"]


def test_a_second_accuracy_stays(tape):
    tape.loss("cross_entropy", tape("x", 4, 3), None)
    tape.accuracy(tape("x"))
    tape.accuracy(tape("x"))
    assert tape.fused() == ["cross_entropy", "accuracy"]


# -------------------------------------------------------------------- rescaling and the rest


def gather(t):
    data = t.outside("data", 9, 6, dtype="uint8")
    t.op.gather(t("batch", 4, 6), data, t("indices", 4, dtype="int32"), scale=2.0, offset=1.0)


def test_rescaling_is_folded_into_the_gather(tape):
    gather(tape)
    tape.op.scale_shift(tape("x", 4, 2, 3), tape("batch").reshape(4, 2, 3), scale=3.0, offset=4.0)
    (record,) = fuse(tape.op.records, {tape("x").storage})
    assert record.op.name == "gather"
    assert (record.attributes["scale"], record.attributes["offset"]) == (6.0, 7.0)


def test_rescaling_of_data_that_somebody_else_reads_stays(tape):
    gather(tape)
    tape.op.scale_shift(tape("x", 4, 6), tape("batch"), scale=3.0, offset=4.0)
    read(tape, "batch")
    assert tape.fused("x", "batch elsewhere") == ["gather", "scale_shift", "add"]


def test_ops_whose_results_nobody_reads_are_dropped_and_updates_are_kept(tape):
    tape.op.softmax(tape("y", 4, 3), tape("x", 4, 3))
    tape.op.fill(tape.outside("weights", 4), value=1.0)
    assert tape.fused() == ["fill"]


def test_fusion_leaves_the_recorded_ops_alone(tape):
    sigmoid_and_loss(tape)
    before = [repr(record) for record in tape.op.records]
    tape.fused("dz")
    assert [repr(record) for record in tape.op.records] == before
