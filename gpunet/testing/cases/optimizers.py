"""Op cases: optimizers. Each reference is the textbook formula in float64, weight by weight."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from gpunet.testing.op_checks import (
    Array,
    Case,
    Maker,
    Values,
    given,
    segment_table,
    segments,
    uniform,
)


def squared_norms(gradients: Array, segments: Array) -> Values:
    """Sums of squares, a group at a time."""
    norms = np.zeros(int(segments[:, 5].max(initial=0)) + 1)
    for offset, size, _, _, trainable, group in segments:
        if trainable:
            norms[int(group)] += np.sum(gradients[int(offset) : int(offset + size)] ** 2)
    return {"norms": norms}


def moving_average(
    averages: Array, weights: Array, step: Array, segments: Array, hyper: Array, tick: bool = True
) -> Values:
    """Keras' update of the averages, and of the weights every so many steps."""
    a, w, (momentum, frequency), t = averages.copy(), weights.copy(), hyper, int(step[0]) + 1
    for offset, size, _, _, trainable, _ in segments:
        part = slice(int(offset), int(offset + size))
        if trainable:
            a[part] = w[part] if t == 1 else momentum * a[part] + (1 - momentum) * w[part]
            if frequency and t % frequency == 0:
                w[part] = a[part]
    return {"averages": a, "weights": w, "step": step + tick}


class _Update:
    """One update: copies of what it changes, and what all optimizers do before their formula."""

    def __init__(self, reads: Values, slots: tuple[str, ...]) -> None:
        self._reads = reads
        self.step = int(reads["step"][0]) + 1
        self.own = [float(number) for number in reads["hyper"][3:]]
        self._written = {name: reads[name].copy() for name in ("weights", *slots) if name in reads}

    def __iter__(self) -> Iterator[tuple[float, Array, dict[str, Array]]]:
        """(rate, clipped gradients, views of weights and slots) of each trainable weight."""
        learning_rate, weight_decay, clip = self._reads["hyper"][:3]
        norms = self._reads.get("norms")
        for offset, size, decay, factor, trainable, group in self._reads["segments"]:
            part = slice(int(offset), int(offset + size))
            if not trainable:
                continue
            g = self._reads["gradients"][part]
            if norms is None:
                g = np.clip(g, -clip, clip)
            else:
                g = g * clip / max(np.sqrt(norms[int(group)]), clip)
            views = {name: array[part] for name, array in self._written.items()}
            rate = learning_rate * factor
            views["weights"] -= views["weights"] * weight_decay * decay * rate
            yield rate, g, views

    def values(self) -> Values:
        """What the op writes."""
        return {**self._written, "step": self._reads["step"] + self._reads.get("tick", True)}


def sgd(nesterov: bool = False, **reads: Array) -> Values:
    """Stochastic gradient descent."""
    update = _Update(reads, ("velocity",))
    (momentum,) = update.own
    for rate, g, at in update:
        move = -rate * g
        if "velocity" in at:
            at["velocity"][:] = momentum * at["velocity"] + move
            move = momentum * at["velocity"] + move if nesterov else at["velocity"]
        at["weights"] += move
    return update.values()


def adam(**reads: Array) -> Values:
    """Adam as in Keras' documentation."""
    update = _Update(reads, ("momentums", "velocities", "velocity_hats"))
    beta_1, beta_2, epsilon = update.own
    for rate, g, at in update:
        m = at["momentums"][:] = beta_1 * at["momentums"] + (1 - beta_1) * g
        v = at["velocities"][:] = beta_2 * at["velocities"] + (1 - beta_2) * g**2
        if "velocity_hats" in at:
            v = at["velocity_hats"][:] = np.maximum(at["velocity_hats"], v)
        alpha = rate * np.sqrt(1 - beta_2**update.step) / (1 - beta_1**update.step)
        at["weights"] -= alpha * m / (np.sqrt(v) + epsilon)
    return update.values()


def nadam(**reads: Array) -> Values:
    """Nadam as Keras writes it."""
    update = _Update(reads, ("momentums", "velocities"))
    beta_1, beta_2, epsilon, product = update.own
    u, u_next = (beta_1 * (1 - 0.5 * 0.96 ** (update.step + k)) for k in (0, 1))
    for rate, g, at in update:
        m = at["momentums"][:] = beta_1 * at["momentums"] + (1 - beta_1) * g
        v = at["velocities"][:] = beta_2 * at["velocities"] + (1 - beta_2) * g**2
        m_hat = u_next * m / (1 - product * u * u_next) + (1 - u) * g / (1 - product * u)
        v_hat = v / (1 - beta_2**update.step)
        at["weights"] -= rate * m_hat / (np.sqrt(v_hat) + epsilon)
    return update.values()


def adamax(**reads: Array) -> Values:
    """Adamax."""
    update = _Update(reads, ("momentums", "maxima"))
    beta_1, beta_2, epsilon = update.own
    for rate, g, at in update:
        m = at["momentums"][:] = beta_1 * at["momentums"] + (1 - beta_1) * g
        u = at["maxima"][:] = np.maximum(beta_2 * at["maxima"], np.abs(g))
        at["weights"] -= rate * m / ((1 - beta_1**update.step) * (u + epsilon))
    return update.values()


def rmsprop(**reads: Array) -> Values:
    """RMSprop with all its options."""
    update = _Update(reads, ("velocities", "momentums", "average_gradients"))
    rho, momentum, epsilon = update.own
    for rate, g, at in update:
        variance = at["velocities"][:] = rho * at["velocities"] + (1 - rho) * g**2
        if "average_gradients" in at:
            mean = at["average_gradients"][:] = rho * at["average_gradients"] + (1 - rho) * g
            variance = variance - mean**2
        change = rate * g / np.sqrt(variance + epsilon)
        if "momentums" in at:
            change = at["momentums"][:] = momentum * at["momentums"] + change
        at["weights"] -= change
    return update.values()


def adagrad(**reads: Array) -> Values:
    """Adagrad."""
    update = _Update(reads, ("accumulators",))
    (epsilon,) = update.own
    for rate, g, at in update:
        at["accumulators"] += g**2
        at["weights"] -= rate * g / np.sqrt(at["accumulators"] + epsilon)
    return update.values()


def adadelta(**reads: Array) -> Values:
    """Adadelta."""
    update = _Update(reads, ("accumulated_gradients", "accumulated_changes"))
    rho, epsilon = update.own
    for rate, g, at in update:
        of_gradient, of_change = at["accumulated_gradients"], at["accumulated_changes"]
        of_gradient[:] = rho * of_gradient + (1 - rho) * g**2
        change = np.sqrt(of_change + epsilon) / np.sqrt(of_gradient + epsilon) * g
        of_change[:] = rho * of_change + (1 - rho) * change**2
        at["weights"] -= rate * change
    return update.values()


def lion(**reads: Array) -> Values:
    """Lion."""
    update = _Update(reads, ("momentums",))
    beta_1, beta_2 = update.own
    for rate, g, at in update:
        m = at["momentums"]
        at["weights"] -= rate * np.sign(beta_1 * m + (1 - beta_1) * g)
        m[:] = beta_2 * m + (1 - beta_2) * g
    return update.values()


# ---------------------------------------------------------------------------------- the rows


_STEP = given([4], "int64", "step")
_LONG = (70001, segments((0, 70001, 1.0, 1)))
_FOUR = (
    7113,
    segments((0, 6400, 1.0, 1), (6400, 64, 1.0, 1), (6464, 640, 1.0, 1), (7104, 9, 1.0, 1)),
)
_MIXED = (
    300,  # (offset, size, decay, learning-rate factor, trainable, clip group)
    segment_table(
        (0, 100, 1, 1.0, 1, 0),
        (128, 10, 0, 0.5, 1, 1),
        (192, 31, 1, 1, 0, 2),
        (256, 44, 1, 1, 1, 3),
    ),
)
_ONE_GROUP = (
    9000,
    segment_table((0, 5000, 1, 1.0, 1, 0), (5056, 31, 1, 1, 0, 0), (5120, 3880, 1, 1.0, 1, 0)),
)
_NORMS = given([30.0, 0.01, 5.0, 0.0], label="norms")  # larger than the clip of 2, and smaller


def _case(name: str, reference: Callable[..., Values], own: list[float], *options: Values) -> Case:
    """A row: each option gives the slots that are there and flags; all with and without extras."""
    calls: list[Values] = []

    def add(place: tuple[int, Maker], option: Values, label: str, common: list[float]) -> None:
        n, table = place
        made = {"slot": uniform(n), "large": given([2.0] * n, label="large")}
        slots = {key: made.get(value, value) for key, value in option.items()}
        hyper = given([0.01, *common, *own], label=label)
        call = {"weights": (n,), **slots, "step": _STEP, "gradients": (n,), "segments": table}
        norms = _NORMS if label == "norm" else None
        calls.append({**call, "norms": norms, "hyper": hyper})

    for option in options:
        for place in (_LONG, _FOUR, _MIXED):
            add(place, option, "plain", [0.0, np.inf])
        add(_MIXED, option, "value", [0.1, 0.5])
        add(_MIXED, option, "norm", [0.1, 2.0])
    add(_MIXED, {**options[0], "tick": False}, "no_tick", [0.0, np.inf])
    return Case(name, reference, tuple(calls))


_VELOCITIES = {"momentums": "slot", "velocities": "slot"}

CASES = (
    Case(
        "squared_norms",
        squared_norms,
        tuple(
            {
                "norms": given([0.0] * groups, label=f"{groups}"),
                "gradients": (n,),
                "segments": table,
            }
            for (n, table), groups in ((_LONG, 1), (_FOUR, 1), (_MIXED, 4), (_ONE_GROUP, 1))
        ),
    ),
    Case(
        "moving_average",
        moving_average,
        tuple(
            {
                "averages": (n,),
                "weights": (n,),
                "step": given([step], "int64", f"step{step}"),
                "segments": table,
                "hyper": given([0.9, frequency], label=f"every{frequency}"),
                "tick": tick,
            }
            for n, table in (_LONG, _MIXED)
            for step, frequency, tick in ((0, 0, True), (4, 0, True), (4, 5, False), (5, 5, True))
        ),
    ),
    _case(
        "sgd",
        sgd,
        [0.9],
        {"velocity": None},
        {"velocity": "slot"},
        {"velocity": "slot", "nesterov": True},
    ),
    _case(
        "adam",
        adam,
        [0.9, 0.999, 1e-7],
        {**_VELOCITIES, "velocity_hats": None},
        {**_VELOCITIES, "velocity_hats": "slot"},
    ),
    _case("nadam", nadam, [0.9, 0.999, 1e-7, 0.05], _VELOCITIES),
    _case("adamax", adamax, [0.9, 0.999, 1e-7], {"momentums": "slot", "maxima": "slot"}),
    _case(
        "rmsprop",
        rmsprop,
        [0.9, 0.5, 0.1],
        {"velocities": "slot", "momentums": None, "average_gradients": None},
        {"velocities": "slot", "momentums": "slot", "average_gradients": None},
        {"velocities": "large", "momentums": None, "average_gradients": "slot"},
        {"velocities": "large", "momentums": "slot", "average_gradients": "slot"},
    ),
    _case("adagrad", adagrad, [1e-7], {"accumulators": "slot"}),
    _case(
        "adadelta",
        adadelta,
        [0.95, 1e-7],
        {"accumulated_gradients": "slot", "accumulated_changes": "slot"},
    ),
    _case("lion", lion, [0.9, 0.99], {"momentums": "slot"}),
)
