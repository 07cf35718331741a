"""Candidate against current: exams, the judgement, the report, and putting weights in force."""
