"""``python -m graph.check``. What it does and the keys it reads: ``configs/commands.py``."""

import sys

from configs.command import main

if __name__ == "__main__":
    sys.exit(main("graph.check"))
