"""Agents: batch functions over the event log, and the runner that drives them."""
