"""The partition lane: one partition's input, output and offsets in one transaction."""
