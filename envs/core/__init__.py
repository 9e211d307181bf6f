"""The semi-Markov contract shared by every environment family."""
