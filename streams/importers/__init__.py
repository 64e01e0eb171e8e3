"""Importers: real data sets as member events."""
