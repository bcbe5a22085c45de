"""A budget of bytes: a run ends before it sends more."""

from __future__ import annotations

import math

import torch

from gamlp_admm.parallel.team import Team


class ByteBudget:
    """What a run may send between layers, over all processes, which learn at once that it is spent.

    Processes are asked what they have sent only where the most that it can be comes near to the budget.

    Args:
        most: Bytes; ``None`` for as many as there are.
        team: The processes.
    """

    def __init__(self, most: int | None, team: Team) -> None:
        self.most, self.team = most, team
        self._known, self._since = 0.0, math.inf  # sent by all processes, and the most since then

    def spent(self, most: int, sent: float, before: float) -> bool:
        """Return whether another iteration could exceed the budget; it is asked before each.

        Args:
            most: Bytes that the iteration can send at most.
            sent: What this process has sent in this stage of growth.
            before: What all have sent in earlier stages.
        """
        if self.most is None:
            return False
        if self._known + self._since + most > self.most:
            mine = torch.tensor([sent], dtype=torch.float64, device=self.team.device)
            self._known, self._since = before + float(self.team.total(mine)), 0.0
            if self._known + most > self.most:
                return True
        self._since += most
        return False
