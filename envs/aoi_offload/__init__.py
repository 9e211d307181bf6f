"""Age-minimal offloading (Jin et al., arXiv 2312.10418 and 2409.16832)."""
