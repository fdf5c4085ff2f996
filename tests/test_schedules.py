"""Learning-rate schedules: Keras' values, saving, and what they refuse."""

import doctest
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from gpunet import optimizers, schedules
from gpunet.errors import ArgumentError

_SPEC = importlib.util.spec_from_file_location(
    "golden_schedules", Path(__file__).parent / "golden" / "optimizers.py"
)
golden = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(golden)
RUNS = [
    pytest.param(*run, wanted, id=f"{i}-{run[0]}")
    for i, (run, wanted) in enumerate(
        zip(golden.SCHEDULES, np.load(golden.FILE)["schedules"], strict=True)
    )
]


@pytest.mark.parametrize(("name", "arguments", "wanted"), RUNS)
def test_the_same_values_as_keras(name, arguments, wanted):
    schedule = getattr(schedules, name)(**arguments)
    got = [schedule(step) for step in golden.SCHEDULE_STEPS]
    assert all(type(value) is float for value in got)
    np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("name", "arguments", "wanted"), RUNS)
def test_saved_schedules_round_trip(name, arguments, wanted):
    schedule = getattr(optimizers.schedules, name)(**arguments)
    saved = json.loads(json.dumps(schedules.serialize(schedule)))
    again = schedules.deserialize(saved)
    assert type(again) is type(schedule)
    assert again.get_config() == schedule.get_config()
    assert again(7) == schedule(7)


class Harmonic(schedules.LearningRateSchedule):
    def __init__(self, first):
        self.first = first

    def __call__(self, step):
        return self.first / (step + 1)

    def get_config(self):
        return {"first": self.first}


def test_a_schedule_of_ones_own():
    saved = optimizers.serialize(optimizers.SGD(Harmonic(0.5)))
    assert saved["config"]["learning_rate"] == {"class_name": "Harmonic", "config": {"first": 0.5}}
    again = optimizers.deserialize(saved, {"Harmonic": Harmonic})
    assert again.learning_rate == 0.5
    with pytest.raises(ArgumentError, match="Unknown learning-rate schedule 'Harmonic'"):
        optimizers.deserialize(saved)
    with pytest.raises(NotImplementedError, match="must define __call__"):
        schedules.LearningRateSchedule()(0)
    with pytest.raises(NotImplementedError, match="must define get_config"):
        schedules.LearningRateSchedule().get_config()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: schedules.ExponentialDecay(0.1, 0, 0.5), "above 0 for decay_steps, got 0"),
        (lambda: schedules.ExponentialDecay(-0.1, 1, 0.5), "initial_learning_rate, got -0.1"),
        (lambda: schedules.CosineDecay(0.1, float("nan")), "decay_steps, got nan"),
        (lambda: schedules.CosineDecay(0.1, 10, warmup_target="1"), "warmup_target, got '1'"),
        (lambda: schedules.PiecewiseConstantDecay([1, 2], [1.0]), "got 1 values for 2 boundaries"),
        (lambda: schedules.PiecewiseConstantDecay([2, 1], [1, 2, 3]), "increasing boundaries"),
        (lambda: schedules.CosineDecayRestarts(0.1, 10, t_mul=0.5), "t_mul of at least 1"),
        (lambda: schedules.PolynomialDecay(0.1, 10, power=-1), "power, got -1"),
        (lambda: schedules.deserialize({"name": 1}), "class_name and a config"),
        (
            lambda: schedules.deserialize({"class_name": "CosineDecay", "config": {"x": 1}}),
            "config of CosineDecay does not fit",
        ),
    ],
)
def test_absurd_arguments_are_refused(make, message):
    with pytest.raises(ArgumentError, match=message):
        make()


def test_examples():
    assert doctest.testmod(schedules).failed == 0
    kinds = (optimizers.base, optimizers.momentum, optimizers.adam, optimizers.adaptive)
    for module in (optimizers, *kinds):
        assert doctest.testmod(module).failed == 0
