"""Training of PPO trading policies: series, environment, trainer, backtest and publishing to MLflow."""

import os

# Torch's threads spin while they wait for each other. Where other programs want the cores too, that made training
# 15 times slower (2 cores, 1,800 to 120 steps a second); waiting passively costs a fifth of the speed of an idle
# machine. OpenMP reads this when torch is first imported; who set it before is left alone.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
