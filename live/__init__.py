"""The live trader: loads a contracted policy from the registry, verifies it and trades its decisions."""
