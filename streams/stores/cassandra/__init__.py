"""The durable store on Cassandra: states, histories and profiles whose write timestamps are log positions."""
