"""What is on the wire: topics, records and settings. Imports nothing of ours and does nothing but validate."""
