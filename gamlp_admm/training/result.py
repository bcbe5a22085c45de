"""What a run tells: its records, the best of them, and progress for callbacks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gamlp_admm.nn.network import Weights
from gamlp_admm.system.words import outcome
from gamlp_admm.training.records import Records
from gamlp_admm.training.schedules import Record


@dataclass(repr=False)
class Result:
    """What a run gives beside the trained model.

    Attributes:
        records: :attr:`history` as it is stored until it is read: by column, in a tenth of the memory.
        history: A list of dictionaries, one an evaluated iteration, with the keys ``iteration`` (from 1, over all
            stages; 0 for a start that was made from the data), ``layers``, ``objective``, ``primal_residual``,
            ``dual_residual``, ``train_loss``, ``train_accuracy``, ``val_accuracy``, ``test_accuracy``, ``seconds`` and
            ``bytes_sent`` (both since the start; seconds without evaluation). With another :attr:`metric` its figures
            too, as ``val_roc_auc``; of real targets ``val_r2``, which is also what ``val_accuracy`` then holds.
        best: ``iteration``, ``val_accuracy`` and ``test_accuracy``, and figures of the metric, of the record that is
            best by it on validation at the final depth, the earlier on ties; the last record where there are no
            validation nodes or the final depth was not reached. ``metric`` is the one that selected it, where another
            than accuracy was asked for.
        last: ``iteration``, accuracies and figures of the metric of the last record.
        metric: Name of the metric that was asked for; of real targets ``r2`` in place of ``accuracy``.
        converges: Whether the penalties satisfy the algorithm's convergence theorem; ``None`` where it has none.
        theorem: The same as a phrase, with the condition.
        solver: How the first layer's weights were solved in the last stage, and why; ``None`` where nothing was chosen.
        units: What features were measured in while training.
        start: What was chosen for a start from the data (``init`` ``ridge``), and its validation scores; else ``None``.
        codec: Where ``codec="auto"`` chose: ``chosen``, the codecs as text that ``codec`` takes; ``why``;
            ``expected_bytes``; ``budget`` in bytes, or ``None``; and ``ended``, the iteration after which training
            ended because another could have exceeded the budget, or ``None``. Else ``None``.
        processes: One summary a process: ``rank``, ``layers`` (first and last, from 1), ``seconds`` of training, of
            them ``wait_seconds`` for other processes, ``split``: seconds by what they went to, such as ``start``,
            ``update p``, ``encode q`` and ``wait``, ``wire_bytes``: what it sent to its neighbours, by boundary, and
            ``evaluation_bytes``: what it sent for evaluations.
        stopped: The iteration after which a callback, in whichever process, ended training early, or at which it
            diverged; ``None`` if none did.
        diverged: What was no longer finite, of the result of a :class:`gamlp_admm.errors.Diverged`; else ``None``.

    Example:
        >>> from gamlp_admm import GAMLP, PdADMMG, load_dataset
        >>> data = load_dataset("karate").data
        >>> model = GAMLP(data.num_features, hidden_channels=8, out_channels=4, num_layers=2)
        >>> result = PdADMMG().fit(model, data, iterations=5, seed=0)
        >>> len(str(result).splitlines())  # of print(result): the best, the last, what it took
        3
        >>> result.last["iteration"], result.seconds == result.history[-1]["seconds"]
        (5, True)
    """

    records: Records | list[Record] = field(default_factory=Records)
    best: Record = field(default_factory=dict)
    last: Record = field(default_factory=dict)
    metric: str = "accuracy"
    converges: bool | None = None
    theorem: str | None = None
    start: Record | None = None
    solver: str | None = None
    units: str | None = None
    codec: Record | None = None
    processes: list[Record] = field(default_factory=list)
    stopped: int | None = None
    diverged: str | None = None

    @property
    def history(self) -> list[Record]:
        """The records, a dictionary each; made when they are first read."""
        if not isinstance(self.records, list):
            self.records = list(self.records)
        return self.records

    @history.setter
    def history(self, records: list[Record]) -> None:
        self.records = records

    @property
    def seconds(self) -> float:
        """Training time without evaluation."""
        return float(self.records[-1]["seconds"]) if self.records else 0.0

    @property
    def bytes_sent_total(self) -> int:
        """Payload sent over all boundaries between layers, in bytes; in one process, what would be sent."""
        return int(self.records[-1]["bytes_sent"]) if self.records else 0

    def __str__(self) -> str:
        if not self.records:
            return "no evaluations"
        spent = self.seconds, self.bytes_sent_total, len(self.processes)
        return "\n".join(outcome(self.best, self.last, *spent, self.metric))

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {'; '.join(str(self).splitlines())}>"


@dataclass(frozen=True)
class Progress:
    """What a callback sees after each evaluated iteration.

    Attributes:
        record: The newest history record.
        total_iterations: Iterations of the whole run.
        parts: The layers of each part, which a process owns, counted from 0.
        weights: Returns (W, b) of each layer of the network as it stands, of those that this process owns.
        metric: Name of the metric that selects (:attr:`Result.metric`).
        codec: What ``codec="auto"`` chose (:attr:`Result.codec`), or ``None``.
    """

    record: Record
    total_iterations: int
    parts: list[range]
    weights: Callable[[], Weights]
    metric: str = "accuracy"
    codec: dict[str, Any] | None = None


Callback = Callable[[Progress], object]
"""Called after each evaluated iteration; training stops if it returns ``True``. A callback with a method ``asked`` is
asked the same, without a record, between evaluations."""
