"""Training of PPO trading policies: series, environment, trainer, backtest and publishing to MLflow."""
