"""Several processes: how they start, who owns which layers and rows, and how neighbours exchange fields."""
