"""Published conformance checkers for semi-Markov environments: they work on anybody's environment.

Each raises `ContractError` with one sentence that says what is wrong and where:

* `check_smdp`: a Gymnasium environment, scalar or vector, keeps the semi-Markov contract;
* `check_event_clock`: a PettingZoo AEC environment asks its agents in the order of an event clock;
* `check_parallel_equals_aec`: the Parallel view of a model makes the same decisions as the AEC one;
* `check_vector_equals_scalar`: lane i of a vector environment is the scalar one with its seed, bit for bit.
"""

from .actions import Actor, draw_actions
from .contract import ContractError
from .digest import digest, trajectory_hash
from .event_clock import check_event_clock
from .parallel import check_parallel_equals_aec
from .smdp import check_smdp
from .vector import check_vector_equals_scalar

__all__ = [
    "Actor",
    "ContractError",
    "check_event_clock",
    "check_parallel_equals_aec",
    "check_smdp",
    "check_vector_equals_scalar",
    "digest",
    "draw_actions",
    "trajectory_hash",
]
