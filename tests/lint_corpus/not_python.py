def broken(:  # expect: TMW001
