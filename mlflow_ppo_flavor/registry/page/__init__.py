"""The gate's own page, `/ppo/` beside MLflow's: who may run what, and what happened."""
