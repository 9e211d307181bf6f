"""Numbers of the random streams, by environment: no two of one environment are equal.

A number keys a stream of draws (`edgewise.envs.core.rng.stream_key`); changing one changes every trajectory.
"""

SERVICE, POLICY = 0, 1
"""`AoIOffload`: service times, and the scripted policies' own randomness."""

DEMAND, POPULARITY, INSTANCE, BURST, ASSIGNMENT, THINNING, QUALITY, UTILISATION, SHARING = range(2, 11)
"""`ModelCaching`: requests, ranks of popularity, the agents, bursts of demand; of a trace, which agent a session is of,
which requests are kept, and which server they go to; of the market, the agents' quality and the servers' use."""

VALUATION = 2
"""`DutchClock`: values and costs; buyers are devices 0 to n - 1, sellers come behind."""

BUDGET_STREAM, PROMPT_STREAM, ARRIVAL_STREAM, OUTAGE_STREAM, QUALITY_STREAM = range(8, 13)
"""`Expert...`: drawn budgets and their drift, prompts, arrivals, outages, right and wrong answers."""
