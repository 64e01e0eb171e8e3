"""The HTTP routes and their problem details."""
