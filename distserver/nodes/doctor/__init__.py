"""What would stop a cold start of a node, in plain words."""
