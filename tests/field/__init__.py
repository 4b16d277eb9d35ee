"""tracemw beside libraries and servers that it does not build on."""
