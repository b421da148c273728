"""`python -m live`: runs `live.command`, or says which extra it needs."""

from mlflow_ppo_flavor.extras import run_program

if __name__ == "__main__":
    run_program("live.command", "python -m live", "live")
