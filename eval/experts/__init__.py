"""Evaluation of expert selection and routing: runs, and the study ``edgewise reproduce experts``."""
