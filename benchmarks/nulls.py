"""The share of the nulls in the time of metamer(): the task `nulls` of sweeps.py, on one core.

OMP_NUM_THREADS=1 python benchmarks/nulls.py
"""

import sys

from sweeps import main

if __name__ == "__main__":
    sys.argv[1:] = ["nulls", "--workers", "1"]
    main()
