"""`tracemw check`, as its users run it."""
