"""Small instances with known optima, on which learners and solvers are tested."""

from __future__ import annotations

import numpy as np

from .ratio_mdp import RatioMDP

TINY_DELAYS = (1.0, 1.0, 4.0, 4.0)
"""Last delay in the states of `tiny_instance`, s."""
TINY_WAITS = (0.0, 0.0, 2.0, 2.0)
"""Wait of the actions of `tiny_instance`, s."""


def tiny_instance() -> RatioMDP:
    """The smallest update-and-offload problem on which the usual shortcuts fail: 4 states, 4 actions, optimum 3.4125.

    State = (last delay y, background load l), in the order (1, 0), (1, 1), (4, 0), (4, 1). Action = (wait z, place),
    in the order (0, local), (0, edge), (2, local), (2, edge). The next delay is 1 with probability 0.5 locally, at the
    edge 0.9 under load 0 and 0.2 under load 1; otherwise it is 4. The load stays with probability 0.8. With u = y + z
    the duration is u and the cost ½u² + u E[next delay], the expected area under the age curve.

    The best policy waits after a short delay under load 0 and has ratio 3.4125. Not waiting has ratio 3.461053, and so
    have the policies found by minimising the mean of cost / duration, by a discount of 0.9, or by pricing time at half
    the ratio.
    """
    transition = np.zeros((4, 4, 4))
    delay, wait = np.array(TINY_DELAYS), np.array(TINY_WAITS)
    expected = np.zeros((4, 4))
    for state in range(4):
        load = state % 2
        for action in range(4):
            short = 0.5 if action % 2 == 0 else (0.9, 0.2)[load]
            expected[state, action] = short * 1.0 + (1.0 - short) * 4.0
            for following in range(4):
                delay_probability = short if following < 2 else 1.0 - short
                transition[state, action, following] = delay_probability * (0.8 if following % 2 == load else 0.2)
    elapsed = delay[:, None] + wait[None, :]
    return RatioMDP(transition, 0.5 * elapsed**2 + elapsed * expected, elapsed)
