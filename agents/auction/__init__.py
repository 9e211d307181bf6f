"""Learners of the market: the network behind DQMSB's factor, and the control of clock steps.

The auctions themselves are `envs.model_caching`; what trains on Stable-Baselines3 is `agents.sb3.auction`.
"""
