"""Environments of repositories under test: interpreters, templates, project layers."""
