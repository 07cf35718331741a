"""Small nodes in place of the real ones, so that processes can be tested without pictures."""

MODULES = {kind: f"tests.process.toys.{kind}" for kind in ("camera", "fusion", "recorder", "viewer")}
