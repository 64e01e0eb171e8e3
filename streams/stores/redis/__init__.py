"""The hot store on Redis, a single server or a cluster: a synchronous store, and reads for one event loop."""
