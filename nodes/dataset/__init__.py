"""Recordings made into data for training: pseudo ground truth, gates, shards, a manifest."""
