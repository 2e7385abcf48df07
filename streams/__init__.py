"""What follows from a record: decisions in `core`, and the shells that read and write topics around them."""
