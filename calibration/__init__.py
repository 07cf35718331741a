"""Floor 2, who stands where: cameras, rigs, projection and rig files."""
