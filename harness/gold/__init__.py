"""Ground truth of every stage, read off a real commit."""
