"""What was learned: the network, its checkpoints, its golden decisions and its files, by torch and safetensors."""
