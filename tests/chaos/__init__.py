"""Faults by a seeded schedule, and a checker that knows from the inputs alone what should have happened."""
