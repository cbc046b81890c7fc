"""Configuration: one TOML file in, every problem out, nothing defaulted that names a place."""
