"""The path of GET /homepage: cache, ladder, single flight, the page made, and the impression that says so."""
