"""Floor 4, what runs: processes, the bus between them, and everything that reaches a user."""
