"""What a model promises, and who may run it: values and pure functions, standard library and packaging alone."""
