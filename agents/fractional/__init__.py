"""Fractional (Dinkelbach) learning with numpy only."""
