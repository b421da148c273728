"""The gate: runs inside the MLflow server, over its SQL registry store. Of the package it imports contract alone."""
