"""Files written atomically: checkpoints, caches."""
