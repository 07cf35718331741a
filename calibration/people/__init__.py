"""Cameras from people who walk: no board, only the joints that several cameras see at once. Arrays in, rigs out."""
