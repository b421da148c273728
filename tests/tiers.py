"""How much each test tier tries: the only place in the tests with counts.

`make test` runs the short tier, every behaviour once with sampled counts; `make test-long`
(MLFLOW_PPO_TIER=long) runs the counts that a release needs. A test takes its counts from here and never
writes one itself.
"""

import os

TIER_VARIABLE = "MLFLOW_PPO_TIER"
TIER = os.environ.get(TIER_VARIABLE, "short")
if TIER not in ("short", "long"):
    raise ValueError(f"{TIER_VARIABLE}: found {TIER!r}, expected 'short' or 'long': unset it or choose one")


def count(short: int, long: int) -> int:
    """The count of this run's tier."""
    return long if TIER == "long" else short


# Hypothesis examples of a property whose single example takes about a millisecond: the default.
EXAMPLES = count(20, 1_000)
# Of a property whose single example takes about 10 milliseconds: whole feature matrices, models in memory.
SLOW_EXAMPLES = count(10, 300)
# Of a property whose single example takes about 100 milliseconds: saved models, databases.
COSTLY_EXAMPLES = count(4, 60)
# Steps of a stateful (rule-based) test, one run of it.
STATEFUL_STEPS = count(20, 100)
# Bars of a generated series where its length isn't the point.
SERIES_BARS = count(700, 4_000)
# Different bars at which a parity test starts.
START_BARS = count(5, 50)
# Members of a file that is made to take a reader's memory and time.
HOSTILE_MEMBERS = count(100_000, 1_000_000)
# Seeds that a learning test must win with.
SEEDS = tuple(range(count(1, 3)))
# Kinds of deployment, of the six that differ in database, workers, authentication and where the registry lies.
DEPLOYMENTS = count(1, 6)
# Times that a server is killed in the middle of a promotion, on each database.
KILLS = count(1, 50)
# Databases on which it is: SQLite, then PostgreSQL.
KILLED_DATABASES = count(1, 2)
# Clients that promote at the same time, and for how many seconds.
CLIENTS, LOAD_SECONDS = count(4, 16), count(2, 60)
# Times that two requests which exclude each other are sent at the same moment.
RACES = count(3, 30)
