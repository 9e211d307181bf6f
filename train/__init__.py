"""Run folders, checkpoints and the training commands."""
