"""Serving: the homepage, its models and caches, and the HTTP routes."""
