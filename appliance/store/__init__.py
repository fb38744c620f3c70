"""The databases: raw.db holds evidence, curated.db verified configuration."""
