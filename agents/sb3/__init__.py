"""Plugs into Stable-Baselines3."""
