"""What the training tests share: one torch thread, since small layers lose more to waiting than they gain."""

import torch

torch.set_num_threads(1)
