"""Environments of the suite: simulators, wrappers and checkers; no learner and no torch."""
