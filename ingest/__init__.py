"""Repo packages: prepare, inspect, verify, quarantine, integrate."""
