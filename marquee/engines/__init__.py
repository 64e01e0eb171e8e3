"""The real engines on one machine, for development, tests and chaos: Kafka, Cassandra, Redis, PostgreSQL."""
