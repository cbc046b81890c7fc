"""The values everything else speaks in: frozen, validated, without I/O."""
