"""The flight recorder: failing, slow and wanted requests reach the backend although they were not sampled."""
