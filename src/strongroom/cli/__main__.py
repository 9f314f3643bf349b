"""`python -m strongroom.cli`, and what bin/strongroom starts."""

import sys

from strongroom.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
