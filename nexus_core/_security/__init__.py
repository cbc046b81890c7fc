"""What decides and what proves: keys, permissions, stamps, sealed tokens."""
