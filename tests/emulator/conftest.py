"""The real CuPy, which installs and imports without a GPU, to compare the look-alike with."""

from __future__ import annotations

import os
import warnings

import pytest


@pytest.fixture(scope="session")
def real_cupy():
    """CuPy 14.2; .ci/run installs it, and demands it by GPUNET_TESTS_NEED_CUPY."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what its import says is not our business
            import cupy
    except ImportError as error:
        problem = f"no CuPy to compare with (pip install cupy-cuda13x==14.2.*): {error}"
        if os.environ.get("GPUNET_TESTS_NEED_CUPY"):
            pytest.fail(problem, pytrace=False)
        pytest.skip(problem)
    if not cupy.__version__.startswith("14.2."):
        pytest.skip(f"the look-alike is one of CuPy 14.2, this is {cupy.__version__}")
    return cupy
