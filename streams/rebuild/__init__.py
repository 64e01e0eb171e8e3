"""Building the states of a group of kinds anew, beside those that serve, from the log and the warehouse."""
