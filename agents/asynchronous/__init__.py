"""The published asynchronous multi-agent learner: recurrent dueling DQN for servers, recurrent-critic PPO for waits.

Torch only. Importing anything from here without it raises `MissingExtraError`; the hyper-parameters
(`agents.config.RecurrentD3QNPPOConfig`) need none.
"""

from ...envs.core.extras import require

require("torch", "sb3")

from .learner import RecurrentD3QNPPO  # noqa: E402
from .variants import ablation_variants  # noqa: E402

__all__ = ["RecurrentD3QNPPO", "ablation_variants"]
