"""Stores for feature state, catalogue and artifacts, behind protocols; engines are chosen by URL."""
