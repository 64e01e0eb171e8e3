"""Experiments as the streaming core knows them: definitions, exposures, outcomes of members, aggregates."""
