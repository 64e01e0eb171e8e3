"""Experiments beside the pages that they test: allocation, life cycle, analysis, decisions."""
