"""The work of each step of a training run, apart from the workflow engine that calls them in turn.

Steps hand on addresses only. Each can be repeated: a dataset is rebuilt from its manifest, a model is stored under its
content's address, and registering or promoting what is registered or promoted changes nothing. A module imports only
what its step needs, since each step is a process of its own.
"""
