"""What tracemw costs, beside what others cost: see README.md."""
