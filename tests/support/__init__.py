"""Real parts for the tests: servers that can be killed, and a network that can fail."""
