"""The wheel and the sdist, each in an empty environment, as `make test-package` has it.

1. Both are built, and `twine check --strict` reads what they say of themselves.
2. The wheel is installed without extras, and then with each extra alone. Each module that the extra is for is imported
   there, with warnings as errors. Nothing may be missing, and no two packages may contradict each other.
3. The sdist is unpacked, and runs tests of its own by its own Makefile.
"""
