"""Compacts a table as another engine would, and writes a checkpoint.

Usage: compact.py TABLE
"""

import sys

from deltalake import DeltaTable

table = DeltaTable(sys.argv[1])
metrics = table.optimize.compact()
if metrics["numFilesRemoved"] < 2:
    sys.exit(f"nothing was compacted: {metrics}")
table.create_checkpoint()
