"""Everything that speaks HTTP: the egress, and later the gateway."""
