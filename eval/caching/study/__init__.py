"""The study of model caching, ``edgewise reproduce caching``: learners of equal size on the same demand."""
