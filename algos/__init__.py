"""The algorithms: what a reader comes for."""

import os

# Intel's MKL picks kernels by the alignment of its operands, which depends on K. This setting, read
# at its first call, makes a product's bits independent of alignment; it costs nothing measurable.
os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")
