"""When each camera saw what it saw: clock offsets and rates from the people's motion alone."""
