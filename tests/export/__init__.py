"""The way of ended spans out of the process: each part alone, and all of them in front of a scripted exporter."""
