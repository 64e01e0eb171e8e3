"""Agents as a Faust app: Faust holds the membership, and hands whole batches over to the loop that drives an agent."""
