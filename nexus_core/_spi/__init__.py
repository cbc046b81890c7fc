"""What a plugin implements: the four backend roles, their capabilities, and the spec."""
