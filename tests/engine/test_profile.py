"""model.profile(): one row for each op of each layer, the slowest first."""

import time

import numpy as np
import pytest

from gpunet import Sequential, layers
from gpunet.backend import backend_named
from gpunet.errors import ArgumentError, UsageError

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((16, 6)).astype(np.float32), RNG.integers(0, 3, 16)
BACKENDS = ["numpy", pytest.param("emulator", marks=pytest.mark.emulator)]


def classifier(backend="numpy"):
    stack = [layers.Dense(5, "relu", input_dim=6), layers.Dense(3, "softmax")]
    model = Sequential(stack).to(backend)
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_rows_are_those_of_the_plan(backend):
    model = classifier(backend)
    before = model.get_weights()
    profile = model.profile(X, Y, steps=2)
    rows = {(row.layer, row.op, row.direction): row for row in profile.rows}
    assert rows.keys() == {
        (record.layer, record.op.name, record.direction)
        for record in model.training_plan(16).records
    }
    assert sum(row.calls for row in profile.rows) == len(model.training_plan(16).records)
    forward = rows["dense", "gemm_bias_act", "forward"]
    assert forward.flops == 2 * 16 * 6 * 5
    assert forward.bytes == 4 * (16 * 6 + 6 * 5 + 5 + 16 * 5)
    assert rows["feed", "gather", "feed"].calls == 2
    times = [row.milliseconds for row in profile.rows]
    assert times == sorted(times, reverse=True)
    assert profile.milliseconds == pytest.approx(sum(times))
    assert ("times of the emulator" in str(profile)) == (backend == "emulator")
    for ours, theirs in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert model.optimizer.iterations == 0


def test_the_slow_op_stands_at_the_top(monkeypatch):
    ops = backend_named("numpy").ops
    right = ops["gemm_act_backward"]

    def slow(*arrays, **attributes):
        time.sleep(0.02)
        right(*arrays, **attributes)

    monkeypatch.setitem(ops, "gemm_act_backward", slow)
    profile = classifier().profile(X, Y, steps=1)
    first = profile.rows[0]
    assert (first.layer, first.op, first.direction) == ("dense", "gemm_act_backward", "backward")
    assert first.milliseconds >= 20
    lines = str(profile).splitlines()
    assert lines[0].startswith("sequential, one training step on numpy (NumPy ")
    assert lines[1].split() == (
        ["Layer", "Op", "Direction", "Calls", "ms", "Share", "FLOPs", "GFLOP/s", "Bytes", "GB/s"]
    )
    assert lines[2].startswith("dense      gemm_act_backward")
    assert lines[-1] == f"All ops of one step: {profile.milliseconds:.3f} ms"


def test_arguments_are_checked():
    for steps in (0, 1.5):
        with pytest.raises(ArgumentError, match="positive integer for steps, got"):
            classifier().profile(X, Y, steps=steps)
    with pytest.raises(UsageError, match=r"profile replays a training step: call model\.compile"):
        Sequential([layers.Dense(1, input_dim=6)]).profile(X, Y)
