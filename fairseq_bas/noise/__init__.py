"""Ways for the copies of a sentence to differ: functions of tokens or embeddings and keys."""
