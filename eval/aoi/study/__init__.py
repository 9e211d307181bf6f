"""The studies ``edgewise reproduce aoi-single`` (in `single`) and ``aoi-game`` (the other modules)."""
