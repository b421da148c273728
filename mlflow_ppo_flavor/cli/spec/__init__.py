"""`mlflow-ppo spec`: one module per subcommand, each imported when it is called."""
