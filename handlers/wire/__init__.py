"""Pure decisions about HTTP: what is sent, and what an answer means."""
