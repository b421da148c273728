"""What Alembic runs: the scripts, in the transaction of the connection that `schema` hands over."""

from alembic import context

from mlflow_ppo_flavor.registry.schema import VERSION_TABLE

context.configure(connection=context.config.attributes["connection"], version_table=VERSION_TABLE)
with context.begin_transaction():
    context.run_migrations()
