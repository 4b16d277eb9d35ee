"""Business spans: what they record, where they are current, and that decorating changes nothing else."""
