"""The command line ``gamlp-admm``: a file a command; it imports torch inside the commands only, so help is quick."""

from gamlp_admm.cli.main import main

__all__ = ["main"]
