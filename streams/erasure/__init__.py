"""Keys that data is sealed with, and what becomes of data when they are dropped."""
