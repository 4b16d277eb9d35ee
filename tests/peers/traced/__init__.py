"""One pytest plugin for each way to install tracemw in everything that a foreign test suite makes."""
