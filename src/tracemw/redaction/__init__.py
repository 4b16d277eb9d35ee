"""What may leave the process."""
