"""Everything put together: the command line, the local Kafka, the supervisor and the demo."""
