"""Counter streams: exact bits against a plain-integer reference, compiled and not."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.envs.core import rng

MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15


def mix(z: int) -> int:
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def key(seed: int, *parts: int) -> int:
    k = mix(seed)
    for part in parts:
        k = mix((k + GOLDEN * (part + 1)) & MASK)
    return k


def uniform(k: int, counter: int) -> float:
    return ((mix((k + GOLDEN * (counter + 1)) & MASK) >> 11) + 0.5) * 2.0**-53


@settings(max_examples=200, deadline=None)
@given(st.integers(0, MASK), st.integers(0, 2**31), st.integers(0, 1), st.integers(0, 10**4), st.integers(0, 2**62))
def test_streams_match_plain_integers(seed, episode, stream, device, counter):
    expected = key(seed, episode, stream, device)
    got = rng.stream_key(np.uint64(seed), episode, stream, device)
    assert int(got) == expected
    assert rng.uniform(np.uint64(got), counter) == uniform(expected, counter)


def test_mix64_known_values():
    # The first outputs of splitmix64 seeded with 0 (Vigna's reference implementation).
    states = [(GOLDEN * i) & MASK for i in (1, 2, 3)]
    expected = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert [int(rng.mix64(np.uint64(s))) for s in states] == expected


def test_same_bits_without_compilation():
    script = (
        "import warnings; warnings.simplefilter('error')\n"
        "import numpy as np\n"
        "from edgewise.envs.core import rng\n"
        "k = rng.stream_key(np.uint64(2**64 - 3), 5, 1, 7)\n"
        "print(int(k), [rng.uniform(np.uint64(k), c).hex() for c in range(20)])\n"
    )
    outputs = []
    for disable in ("0", "1"):
        done = subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "NUMBA_DISABLE_JIT": disable},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout)
    assert outputs[0] == outputs[1]


def test_uniform_is_uniform_and_keys_are_independent():
    draws = np.array([[rng.uniform(np.uint64(key(3, 0, 0, d)), c) for c in range(4000)] for d in range(8)])
    assert abs(draws.mean() - 0.5) < 4 * np.sqrt(1 / 12 / draws.size)
    assert abs(draws.var() - 1 / 12) < 0.003
    correlation = np.corrcoef(draws)
    assert np.abs(correlation[~np.eye(8, dtype=bool)]).max() < 4.5 / np.sqrt(4000)


@pytest.mark.parametrize("counter", [0, 2**40])
def test_uniform_logarithm_is_finite(counter):
    assert np.isfinite(-np.log(rng.uniform(np.uint64(0), counter)))
