"""Where tasks, runs and skips are kept: the protocol, and its backends."""
