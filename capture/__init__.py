"""Floor 1, light → Frame: frame record, clock, the Source contract and the sources."""
