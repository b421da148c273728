"""How a decision is made, shared to the bit by training and live."""
