"""What deliveries cost. `make bench`; every figure comes with the line that verified it."""
