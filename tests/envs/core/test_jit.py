"""Kernels run without numba's memory management: what would allocate does not compile."""

import numba
import numpy as np
import pytest

from edgewise.envs.core.jit import kernel

pytestmark = pytest.mark.skipif(numba.config.DISABLE_JIT, reason="nothing is compiled")


def fill(a, b):
    a[0] = np.zeros(3)[0]


def copy(a, b):
    a[0] = b.copy()[0]


def add(a, b):
    a[0] = (2.0 * a + b)[0]


def move(a, b):
    a[:] = b[:]


def collect(a, b):
    a[0] = [1.0, b[0]][1]


@pytest.mark.parametrize("function", [fill, copy, add, move, collect])
def test_a_kernel_that_allocates_is_refused(function):
    with pytest.raises(numba.core.errors.NumbaError):
        kernel(function)(np.ones(3), np.ones(3))
    numba.njit(function)(np.ones(3), np.ones(3))  # nothing else is wrong with it


def test_a_kernel_writes_into_its_arrays():
    @kernel
    def write(a, b):
        a[:] = 0.5
        for i in range(len(b)):
            a[i] += b[i]

    a = np.zeros(3)
    write(a, np.arange(3.0))
    assert a.tolist() == [0.5, 1.5, 2.5]
