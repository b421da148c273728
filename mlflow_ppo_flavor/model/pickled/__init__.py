"""How pickles and the containers of torch.save are read without running them: the parts of `model.inert`."""
