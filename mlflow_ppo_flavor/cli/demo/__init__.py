"""`mlflow-ppo demo`: the main job on real bars, from training to trading, everything embedded."""

# first of all: it sets how OpenMP's threads wait, which torch reads when it is imported
import training  # noqa: F401
