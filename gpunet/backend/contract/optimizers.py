"""Optimizers.

On flat buffers: weights, gradients and slots of n elements, one row of ``segments`` for each
weight (SEGMENT_COLUMNS). learning_rate below is hyper[0] * the segment's learning_rate_factor;
a segment with trainable = 0 stays as it is. What lies between segments, for their alignment, holds
zeros in all arrays and may be updated like the rest: then it stays zero. ``step`` counts finished
steps; with ``tick`` the op adds one to it at the end. hyper and step are device arrays, so that a
replayed launch sees today's learning rate.
"""

from __future__ import annotations

from gpunet.backend.spec import In, InOut, op


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
