"""Evaluation of model caching: test-time variants, causal rules, clairvoyant references and bounds on one demand."""
