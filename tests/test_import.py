"""``import gpunet`` is cheap: NumPy and its own modules, nothing optional."""

import os
import subprocess
import sys

import pytest

# Read in a fresh interpreter: seconds beyond NumPy's own import, then what was imported.
REPORT = """
import sys, time
import numpy
start = time.perf_counter()
import gpunet
print(time.perf_counter() - start, *sys.modules)
"""
STARTS = 7


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    # With compiled modules, as an installed package has them, wherever the tests run.
    environment = dict(os.environ, PYTHONPYCACHEPREFIX=str(tmp_path_factory.mktemp("compiled")))
    environment.pop("PYTHONDONTWRITEBYTECODE", None)

    def start():
        command = [sys.executable, "-c", REPORT]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        return done.stdout.split()

    start()  # writes the .pyc files
    return [start() for _ in range(STARTS)]


@pytest.mark.parametrize("name", ["cupy", "matplotlib", "gpunet.emulator", "pytest", "ctypes.util"])
def test_nothing_optional_is_imported(name, reports):
    assert name not in reports[0]


def test_import_costs_at_most_a_tenth_of_a_second(reports):
    assert min(float(report[0]) for report in reports) <= 0.1
