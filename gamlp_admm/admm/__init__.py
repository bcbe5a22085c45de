"""The mathematics: the state, the block updates, and one iteration of any layer-parallel algorithm."""
