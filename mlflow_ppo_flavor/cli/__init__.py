"""The command line `mlflow-ppo`: one lazily imported module for each command."""
