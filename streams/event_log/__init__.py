"""The event log: partitioned, durable, read by consumer groups; one protocol, several engines."""
