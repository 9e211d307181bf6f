"""Evaluation of expert selection and routing: the study ``edgewise reproduce experts``."""
