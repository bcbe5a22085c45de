"""One call of ``fit``: rows and coordinates, stages of growth, iterations, evaluation, selection and checkpoints."""
