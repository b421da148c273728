"""`mlflow-ppo guard`: one module per subcommand, each imported when it is called."""
