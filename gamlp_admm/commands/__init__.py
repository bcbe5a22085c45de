"""The commands of ``gamlp-admm``, a module each."""
