"""The contract: every op once, with its roles, shapes, dtypes, aliasing and formula.

An op is a function that reads and writes buffers which its caller gives; it returns None and
allocates nothing tensor-sized. Each op below is written once per backend under the same name and
with the same signature (``backend/cpu``, ``backend/cuda``), has a kernel of the same name in
``kernels/`` and rows in the table of op cases (``gpunet/testing/cases.py``).

Arguments come in this order: arrays that are written, arrays that are read, then keyword-only
sizes and flags. All arrays are C-contiguous. The role of an array stands in its annotation:

=========  ============================================================================
``Out``    written completely, whatever it held before
``Sum``    an output that ``accumulate=True`` adds to instead of overwriting (gradients)
``InOut``  read and updated
``In``     only read
=========  ============================================================================

The decorator gives each array's shape as names (``"rows columns"``; a name stands for the same
size everywhere in one op, a number for itself, ``...`` for one and the same shape of any rank)
and, before a colon, its dtype. Without one the dtype is ``real``: the floating-point type that
the model computes in. ``any`` is any number type; ``|`` separates alternatives.
``in_place="y=x"`` allows output y to be the very same memory as input x.
"""

from __future__ import annotations

from gpunet.backend.spec import In, InOut, Out, Sum, op

# --------------------------------------------------------------------------------- memory


@op(y="any: ...")
def fill(y: Out, *, value: float) -> None:
    """y = value."""


@op(y="any: ...", x="any: ...", in_place="y=x")
def copy(y: Out, x: In) -> None:
    """y = x, both of one dtype."""


@op(y="...", a="...", b="...", in_place="y=a y=b")
def add(y: Out, a: In, b: In) -> None:
    """y = a + b."""


@op(y="...", x="any: ...", in_place="y=x")
def scale_shift(y: Out, x: In, *, scale: float, offset: float) -> None:
    """y = scale * x + offset, where x may be of any number type (uint8 pixels, for example)."""


@op(y="any: batch columns", x="any: samples columns", indices="int32: batch")
def gather(y: Out, x: In, indices: In, *, scale: float = 1.0, offset: float = 0.0) -> None:
    """y[i] = scale * x[indices[i]] + offset: a mini-batch out of a data set.

    x may be of any number type and is converted to y's. Indices must lie in [0, samples).
    """


# ----------------------------------------------------------------------------- activations


@op(y="rows columns", x="rows columns", bias="columns", in_place="y=x")
def bias_act(y: Out, x: In, bias: In | None, *, activation: str) -> None:
    """y = activation(x + bias); without a bias, y = activation(x)."""


@op(
    dx="rows columns",
    dbias="columns",
    dy="rows columns",
    y="rows columns",
    in_place="dx=dy dx=y",
)
def bias_act_backward(
    dx: Out, dbias: Sum | None, dy: In, y: In | None, *, activation: str, accumulate: bool = False
) -> None:
    """dx = dy * activation'(y), dbias = sum of dx over rows.

    activation' is written in terms of the output: relu y > 0, sigmoid y (1 - y), tanh 1 - y^2,
    linear 1 (then y is not needed and may be None). ``accumulate`` concerns dbias alone.
    """


@op(y="rows columns", x="rows columns", in_place="y=x")
def softmax(y: Out, x: In) -> None:
    """y = exp(x - max) / sum(exp(x - max)) along each row."""


@op(dx="rows columns", dy="rows columns", y="rows columns", in_place="dx=dy dx=y")
def softmax_backward(dx: Out, dy: In, y: In) -> None:
    """dx = y * (dy - sum(dy * y)) along each row."""


# ------------------------------------------------------------------------ matrix products


@op(c="m n", a="m k", b="k n", transpose="a=ta b=tb")
def gemm(
    c: Sum, a: In, b: In, *, ta: bool = False, tb: bool = False, accumulate: bool = False
) -> None:
    """c = op(a) op(b), where op transposes if ta or tb: then a is (k, m) or b is (n, k)."""


@op(c="m n", a="m k", b="k n", bias="n", transpose="a=ta b=tb")
def gemm_bias_act(
    c: Out, a: In, b: In, bias: In | None, *, activation: str, ta: bool = False, tb: bool = False
) -> None:
    """c = activation(op(a) op(b) + bias): a dense layer's forward in one launch."""


@op(c="m n", a="m k", b="k n", y="m n", transpose="a=ta b=tb")
def gemm_act_backward(
    c: Out, a: In, b: In, y: In, *, activation: str, ta: bool = False, tb: bool = False
) -> None:
    """c = op(a) op(b) * activation'(y): a product whose result passes back through y's activation.

    activation' is written in terms of the output y, as in `bias_act_backward`.
    """


@op(c="m n", column_sum="n", a="m k", b="k n", transpose="a=ta")
def gemm_column_sum(
    c: Sum, column_sum: Sum, a: In, b: In, *, ta: bool = False, accumulate: bool = False
) -> None:
    """c = op(a) b and column_sum = sum of b over its rows: a dense layer's dkernel and dbias."""


# --------------------------------------------------------------------------------- losses
#
# dx = scale * sample_weight * d(loss of the row)/dx; loss = sample_weight * loss of the row;
# totals += (sum of loss, rows). Where there is an accuracy: correct = 1 for each row that is
# predicted right, else 0; accuracy_totals += (sum of correct, rows). Sums run in a fixed order.

_LOSS = {
    "dx": "rows columns",
    "loss": "rows",
    "correct": "rows",
    "totals": "float64: 2",
    "accuracy_totals": "float64: 2",
    "x": "rows columns",
    "sample_weight": "rows",
    "in_place": "dx=x",
}


@op(labels="int32: rows | rows columns", **_LOSS)
def softmax_cross_entropy(
    dx: Out | None,
    loss: Out,
    correct: Out | None,
    totals: InOut,
    accuracy_totals: InOut | None,
    x: In,
    labels: In,
    sample_weight: In | None,
    *,
    scale: float,
) -> None:
    """loss = sum_j labels_j (log(sum(exp(x))) - x_j), dx = softmax(x) sum(labels) - labels.

    labels are class numbers (rows,) or probabilities (rows, columns). A row is right if x is
    largest (the first of equals) at its label, or where its labels are largest. A class number
    outside [0, columns) gives a loss and a dx of NaN.
    """


@op(labels="int32: rows | rows columns", **_LOSS)
def cross_entropy(
    dx: Out | None,
    loss: Out,
    correct: Out | None,
    totals: InOut,
    accuracy_totals: InOut | None,
    x: In,
    labels: In,
    sample_weight: In | None,
    *,
    scale: float,
) -> None:
    """loss = -sum_j labels_j log(p_j), p = x / sum(x) clipped to [1e-7, 1 - 1e-7], as Keras does.

    The gradient passes through the division; where p is clipped it is 0. Otherwise as
    `softmax_cross_entropy`, with probabilities instead of logits.
    """


@op(labels="rows columns", **_LOSS)
def sigmoid_cross_entropy(
    dx: Out | None,
    loss: Out,
    correct: Out | None,
    totals: InOut,
    accuracy_totals: InOut | None,
    x: In,
    labels: In,
    sample_weight: In | None,
    *,
    scale: float,
) -> None:
    """loss = mean_j(max(x_j, 0) - x_j labels_j + log(1 + exp(-|x_j|))), from logits.

    dx_j = (sigmoid(x_j) - labels_j) / columns. With one column a row is right if (x > 0) equals
    (label > 0.5); with more, if x and the labels are largest at the same place.
    """


@op(labels="rows columns", **_LOSS)
def binary_cross_entropy(
    dx: Out | None,
    loss: Out,
    correct: Out | None,
    totals: InOut,
    accuracy_totals: InOut | None,
    x: In,
    labels: In,
    sample_weight: In | None,
    *,
    scale: float,
) -> None:
    """loss = -mean_j(labels_j log(p_j) + (1 - labels_j) log(1 - p_j)), p = x clipped.

    p is clipped to [1e-7, 1 - 1e-7], as Keras does, and where it is the gradient is 0.
    With one column a row is right if (x > 0.5) equals (label > 0.5); with more, if x and the
    labels are largest at the same place.
    """


@op(
    dx="rows columns",
    loss="rows",
    totals="float64: 2",
    x="rows columns",
    labels="rows columns",
    sample_weight="rows",
    in_place="dx=x",
)
def mean_squared_error(
    dx: Out | None,
    loss: Out,
    totals: InOut,
    x: In,
    labels: In,
    sample_weight: In | None,
    *,
    scale: float,
) -> None:
    """loss = mean_j (x_j - labels_j)^2, dx_j = 2 (x_j - labels_j) / columns."""


@op(
    correct="rows",
    accuracy_totals="float64: 2",
    x="rows columns",
    labels="int32: rows | rows columns",
)
def accuracy(correct: Out, accuracy_totals: InOut, x: In, labels: In) -> None:
    """The accuracy of probabilities x alone, for models whose loss does not count it.

    With one column a row is right if (x > 0.5) equals (label > 0.5); with more, if x is largest
    (the first of equals) at its label, or where its labels are largest.
    """


# --------------------------------------------------------------------------------- random


@op(y="...", x="...", random="uint64: 2", in_place="y=x")
def dropout(y: Out, x: In, random: In, *, rate: float, node: int) -> None:
    """y_i = x_i / (1 - rate) where u_i >= rate, else 0; the gradient is the same op on dy.

    u_i is float32 number i of NumPy's generator Philox4x64-10 with key (seed, 0) and counter
    (0, node, pass, 0), where random = (seed, pass): (word32 >> 8) * 2^-24. NumPy counts before
    it generates, so block b (8 numbers: 4 words of 64 bits, the low half of each first) comes
    from counter (b + 1, node, pass, 0). rate is rounded to float32 before the comparison.
    """


# ----------------------------------------------------------------------------- optimizers
#
# On flat buffers: weights, gradients and slots of n elements, one row of ``segments`` for each
# weight (SEGMENT_COLUMNS). learning_rate below is hyper[0] * the segment's learning_rate_factor;
# a segment with trainable = 0 stays as it is. What lies between segments, for their alignment, holds
# zeros in all arrays and may be updated like the rest: then it stays zero. ``step`` counts finished
# steps; with ``tick`` the op adds one to it at the end. hyper and step are device arrays, so that a
# replayed launch sees today's learning rate.


@op(
    weights="n",
    velocity="n",
    step="int64: 1",
    gradients="n",
    segments="float64: segments 6",
    hyper="float64: 2",
)
def sgd(
    weights: InOut,
    velocity: InOut | None,
    step: InOut,
    gradients: In,
    segments: In,
    hyper: In,
    *,
    nesterov: bool = False,
    tick: bool = True,
) -> None:
    """Stochastic gradient descent as Keras defines it; hyper = (learning_rate, momentum).

    Without velocity: weights -= learning_rate * gradients. With it:
    velocity = momentum * velocity - learning_rate * gradients; weights += velocity, or with
    nesterov weights += momentum * velocity - learning_rate * gradients.
    """


@op(
    weights="n",
    momentums="n",
    velocities="n",
    step="int64: 1",
    gradients="n",
    segments="float64: segments 6",
    hyper="float64: 4",
)
def adam(
    weights: InOut,
    momentums: InOut,
    velocities: InOut,
    step: InOut,
    gradients: In,
    segments: In,
    hyper: In,
    *,
    tick: bool = True,
) -> None:
    """Adam (Kingma and Ba, 2015) as Keras defines it.

    hyper = (learning_rate, beta_1, beta_2, epsilon), t = step + 1:
    momentums += (gradients - momentums) (1 - beta_1);
    velocities += (gradients^2 - velocities) (1 - beta_2);
    weights -= learning_rate sqrt(1 - beta_2^t) / (1 - beta_1^t)
    * momentums / (sqrt(velocities) + epsilon).
    """
