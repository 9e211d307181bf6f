"""Edgewise: semi-Markov edge-computing environments, their learners and their certified optima.

Importing this package registers every environment id with Gymnasium; it needs neither torch nor Ray.
"""

from .envs.core.registration import register_all

__version__ = "0.1.0"

register_all()
