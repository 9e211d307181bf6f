"""Learners and solvers."""
