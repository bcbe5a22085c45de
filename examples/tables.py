"""Makes a graph of 400 nodes as tables, nodes.csv and edges.csv, and one that has grown by 50 nodes of unknown kind.

Usage: python tables.py FOLDER [GROWN]
"""

import csv
import random
import sys
from pathlib import Path

KINDS = ("book", "film", "song")


def write(folder: Path, count: int, known: int) -> None:
    """Write a graph of things of three kinds; what is liked together is mostly of one kind.

    Args:
        folder: Receives the tables.
        count: Number of nodes, up to 450; the first of them are the same for each number.
        known: Number of nodes whose kind is known.
    """
    draw = random.Random(0)
    kinds = [draw.randrange(3) for _ in range(450)]
    nodes, edges = [], []
    for i, kind in enumerate(kinds[:count]):
        measured = [round(draw.gauss(mean, 1.5), 3) for mean in (kind, -kind, 0)]
        nodes.append([f"item {i}", KINDS[kind] if i < known else "", *measured])
        for _ in range(min(i, 10)):
            other = draw.randrange(i)
            alike = kinds[other] == kind
            if alike or draw.random() < 0.2:
                edges.append([f"item {i}", f"item {other}", draw.randint(3, 5) if alike else 1])
    folder.mkdir(parents=True, exist_ok=True)
    tables = {"nodes": ["name", "kind", "age", "price", "votes"], "edges": ["source", "target", "times"]}
    for (table, header), rows in zip(tables.items(), (nodes, edges), strict=True):
        with (folder / f"{table}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([header, *rows])


if __name__ == "__main__":
    for folder, count in zip(sys.argv[1:3], (400, 450), strict=False):
        write(Path(folder), count, known=400)
