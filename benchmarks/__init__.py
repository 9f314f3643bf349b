"""What is measured, against what, and by which ratio. `make bench` runs it all."""
