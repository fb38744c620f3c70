"""What a tree of Python files defines, imports and uses."""
