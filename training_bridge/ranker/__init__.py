"""The ranking model: closed-form item-item estimators and live popularity, weighed by a small learned combiner.

Training is a pure function of a log of interactions; the model reads a member's live state, so that an event changes
the ranking without a new training run.
"""
