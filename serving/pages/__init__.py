"""The page: what it is, how it is built, cached, degraded, logged, replayed and explained."""
