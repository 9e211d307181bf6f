"""Torch modules shared by the SB3 and RLlib plugs."""
