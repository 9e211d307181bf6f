"""Evaluation of age-minimal offloading: one learning device, or a game in which all learn."""
