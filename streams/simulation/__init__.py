"""A simulated membership: a generated catalogue, members with tastes, and a click model."""
