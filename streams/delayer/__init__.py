"""Waiting: retries in, due deliveries out."""
