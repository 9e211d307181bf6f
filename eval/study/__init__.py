"""The study of the game, ``edgewise reproduce aoi-game``: baselines, fidelity ablation and sweeps."""
