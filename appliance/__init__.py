"""The machine as a whole: commands, configuration, databases, and whatever acts on them."""
