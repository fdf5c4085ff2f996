"""Optimizers.

On flat buffers: weights, gradients and slots of n elements, one row of ``segments`` for each
weight (SEGMENT_COLUMNS). A segment with trainable = 0 stays as it is. What lies between segments,
for their alignment, holds zeros in weights and gradients and may be updated like the rest: then
they stay zero.

``hyper`` begins with (learning_rate, weight_decay, clip); what follows is the optimizer's own.
Every update does this to each trainable segment before its formula, as Keras does:

1. gradients are clipped. With ``norms``, the squared norms that `squared_norms` found, they are
   multiplied by clip / max(norm, clip), norm = sqrt(norms[clip_group]); a norm that is not finite
   makes them NaN. Without, each is cut off at -clip and clip; clip = infinity leaves them alone.
2. rate = learning_rate * the segment's learning_rate_factor.
3. weights -= rate * weight_decay * the segment's decay * weights.

``step`` counts finished steps; t = step + 1. With ``tick`` the op adds one to step at the end.
hyper, step and norms are device arrays, so that a replayed launch sees today's values.
"""

from __future__ import annotations

from gpunet.backend.spec import In, InOut, Sum, op


@op(norms="float64: groups", gradients="n", segments="float64: segments 6")
def squared_norms(norms: Sum, gradients: In, segments: In, *, accumulate: bool = False) -> None:
    """norms[group] = the sum of gradients^2 over the trainable segments of this clip_group.

    The groups of neighbouring segments never decrease, from 0 on; a group without a trainable
    segment gets 0.
    """


@op(
    averages="full: n",
    weights="full: n",
    step="int64: 1",
    segments="float64: segments 6",
    hyper="float64: 2",
)
def moving_average(
    averages: InOut,
    weights: InOut,
    step: InOut,
    segments: In,
    hyper: In,
    *,
    tick: bool = True,
) -> None:
    """The exponential moving average of weights; hyper = (momentum, overwrite_frequency).

    averages = momentum averages + (1 - momentum) weights, or in the first step (step = 0) the
    weights themselves. If overwrite_frequency is not 0 and divides t, weights = averages then.
    """


@op(
    weights="full: n",
    velocity="full: n",
    step="int64: 1",
    gradients="n",
    segments="float64: segments 6",
    norms="float64: groups",
    hyper="float64: 4",
)
def sgd(
    weights: InOut,
    velocity: InOut | None,
    step: InOut,
    gradients: In,
    segments: In,
    norms: In | None,
    hyper: In,
    *,
    nesterov: bool = False,
    tick: bool = True,
) -> None:
    """Stochastic gradient descent; hyper[3:] = (momentum).

    Without velocity: weights -= rate gradients. With it:
    velocity = momentum velocity - rate gradients; weights += velocity, or with nesterov
    weights += momentum velocity - rate gradients.
    """


@op(
    weights="full: n",
    momentums="full: n",
    velocities="full: n",
    velocity_hats="full: n",
    step="int64: 1",
    gradients="n",
    segments="float64: segments 6",
    norms="float64: groups",
    hyper="float64: 6",
)
def adam(
    weights: InOut,
    momentums: InOut,
    velocities: InOut,
    velocity_hats: InOut | None,
    step: InOut,
    gradients: In,
    segments: In,
    norms: In | None,
    hyper: In,
    *,
    tick: bool = True,
) -> None:
    """Adam (Kingma and Ba, 2015); hyper[3:] = (beta_1, beta_2, epsilon).

    momentums += (gradients - momentums) (1 - beta_1);
    velocities += (gradients^2 - velocities) (1 - beta_2);
    weights -= rate sqrt(1 - beta_2^t) / (1 - beta_1^t) momentums / (sqrt(v) + epsilon)
    where v is velocities, or with velocity_hats (AMSGrad; Reddi et al., 2018)
    velocity_hats = max(velocity_hats, velocities).
    """


@op(
    weights="full: n",
    momentums="full: n",
    velocities="full: n",
    step="int64: 1",
    gradients="n",
    segments="float64: segments 6",
    norms="float64: groups",
    hyper="float64: 7",
)
def nadam(
    weights: InOut,
    momentums: InOut,
    velocities: InOut,
    step: InOut,
    gradients: In,
    segments: In,
    norms: In | None,
    hyper: In,
    *,
    tick: bool = True,
) -> None:
    """Adam with Nesterov momentum (Dozat, 2016).

    hyper[3:] = (beta_1, beta_2, epsilon, product), where product = u_1 u_2 ... u_step and
    u_t = beta_1 (1 - 0.96^t / 2). momentums and velocities as in `adam`;
    m_hat = u_(t+1) momentums / (1 - product u_t u_(t+1)) + (1 - u_t) gradients / (1 - product u_t);
    weights -= rate m_hat / (sqrt(velocities / (1 - beta_2^t)) + epsilon).
    """


@op(
    weights="full: n",
    momentums="full: n",
    maxima="full: n",
    step="int64: 1",
    gradients="n",
    segments="float64: segments 6",
    norms="float64: groups",
    hyper="float64: 6",
)
def adamax(
    weights: InOut,
    momentums: InOut,
    maxima: InOut,
    step: InOut,
    gradients: In,
    segments: In,
    norms: In | None,
    hyper: In,
    *,
    tick: bool = True,
) -> None:
    """Adam with the infinity norm (Kingma and Ba, 2015); hyper[3:] = (beta_1, beta_2, epsilon).

    momentums as in `adam`; maxima = max(beta_2 maxima, |gradients|);
    weights -= rate / (1 - beta_1^t) momentums / (maxima + epsilon).
    """


@op(
    weights="full: n",
    velocities="full: n",
    momentums="full: n",
    average_gradients="full: n",
    step="int64: 1",
    gradients="n",
    segments="float64: segments 6",
    norms="float64: groups",
    hyper="float64: 6",
)
def rmsprop(
    weights: InOut,
    velocities: InOut,
    momentums: InOut | None,
    average_gradients: InOut | None,
    step: InOut,
    gradients: In,
    segments: In,
    norms: In | None,
    hyper: In,
    *,
    tick: bool = True,
) -> None:
    """RMSprop (Hinton, 2012); hyper[3:] = (rho, momentum, epsilon).

    velocities = rho velocities + (1 - rho) gradients^2; with average_gradients (centered) also
    average_gradients = rho average_gradients + (1 - rho) gradients;
    change = rate gradients / sqrt(velocities - average_gradients^2 + epsilon); with momentums
    momentums = momentum momentums + change; weights -= momentums, else weights -= change.
    """


@op(
    weights="full: n",
    accumulators="full: n",
    step="int64: 1",
    gradients="n",
    segments="float64: segments 6",
    norms="float64: groups",
    hyper="float64: 4",
)
def adagrad(
    weights: InOut,
    accumulators: InOut,
    step: InOut,
    gradients: In,
    segments: In,
    norms: In | None,
    hyper: In,
    *,
    tick: bool = True,
) -> None:
    """Adagrad (Duchi et al., 2011); hyper[3:] = (epsilon).

    accumulators += gradients^2; weights -= rate gradients / sqrt(accumulators + epsilon).
    """


@op(
    weights="full: n",
    accumulated_gradients="full: n",
    accumulated_changes="full: n",
    step="int64: 1",
    gradients="n",
    segments="float64: segments 6",
    norms="float64: groups",
    hyper="float64: 5",
)
def adadelta(
    weights: InOut,
    accumulated_gradients: InOut,
    accumulated_changes: InOut,
    step: InOut,
    gradients: In,
    segments: In,
    norms: In | None,
    hyper: In,
    *,
    tick: bool = True,
) -> None:
    """Adadelta (Zeiler, 2012); hyper[3:] = (rho, epsilon).

    accumulated_gradients = rho accumulated_gradients + (1 - rho) gradients^2;
    change = gradients sqrt(accumulated_changes + epsilon) / sqrt(accumulated_gradients + epsilon);
    accumulated_changes = rho accumulated_changes + (1 - rho) change^2; weights -= rate change.
    """


@op(
    weights="full: n",
    momentums="full: n",
    step="int64: 1",
    gradients="n",
    segments="float64: segments 6",
    norms="float64: groups",
    hyper="float64: 5",
)
def lion(
    weights: InOut,
    momentums: InOut,
    step: InOut,
    gradients: In,
    segments: In,
    norms: In | None,
    hyper: In,
    *,
    tick: bool = True,
) -> None:
    """Lion (Chen et al., 2023); hyper[3:] = (beta_1, beta_2).

    weights -= rate sign(beta_1 momentums + (1 - beta_1) gradients);
    momentums = beta_2 momentums + (1 - beta_2) gradients.
    """
