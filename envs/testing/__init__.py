"""Published conformance checkers for semi-Markov environments."""
