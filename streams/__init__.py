"""Streams: events, features, feature state, stores, the event log and the agents that keep state current."""
