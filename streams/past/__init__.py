"""What the log says of times gone by: events, and endpoints as they stood."""
