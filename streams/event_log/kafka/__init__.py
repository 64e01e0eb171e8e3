"""The event log on Kafka, with aiokafka."""
