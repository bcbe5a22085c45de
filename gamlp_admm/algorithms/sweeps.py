"""What algorithms that sweep over the layers share: a layer sends its output f(z) forward and its input back."""

from __future__ import annotations

from dataclasses import replace

from gamlp_admm.admm.problem import Problem
from gamlp_admm.admm.state import Block


def output(block: Block, problem: Problem) -> Block:
    """Compute the layer's output f(z), which the next layer takes as its ``q_prev``."""
    return block if block.is_last else replace(block, q=problem.f(block.z))


def keep(block: Block, problem: Problem) -> Block:
    """Change nothing: fields only travel."""
    return block
