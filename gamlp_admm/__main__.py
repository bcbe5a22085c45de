"""``python -m gamlp_admm``: the command line."""

import sys

from gamlp_admm.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
