"""Checkpoints that other code wrote: read inertly, mapped onto our network, refused where that isn't sure."""
