"""Long-context model caching at the edge (Xu et al., arXiv 2501.14205 and 2403.05826).

The Gymnasium id is registered by ``import edgewise``.
"""
