"""The partition lane: one partition's input, output and offsets in one transaction; router, egress and delayer share it."""
