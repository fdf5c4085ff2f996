"""Calls of the table of op cases, made larger."""

import pytest

from gpunet.backend.contract import OPS
from gpunet.testing.cases import CASES
from gpunet.testing.enlarged import enlarged, largest_call


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_enlarged_arrays_have_the_size_and_fit_together(case):
    op, call = OPS[case.op], largest_call(case)
    arrays = case.arrays(call, "float32")
    large = enlarged(op, arrays, case.attributes(call), elements=2**14, columns=128, product=128)
    op.check([large.get(p.name) for p in op.parameters], case.attributes(call))
    least = 128 if case.op == "next_batch" else 2**14  # it has one number a sample
    assert max(array.size for array in large.values()) >= least
