"""Candidate against current: benchmarks, the gate, the report, and making weights the active ones."""
