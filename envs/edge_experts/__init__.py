"""Prompts over heterogeneous edge language-model experts (MoE², Jin et al., arXiv 2501.09410)."""
