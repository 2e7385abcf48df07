"""The POST: deliveries in; attempts made; results, retries and dead letters out."""
