"""One module a revision, in one line: each names the one before it, and is never changed once released."""
