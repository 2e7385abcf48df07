"""The HTTP API: changes and events in, the state of endpoints and deliveries out."""
