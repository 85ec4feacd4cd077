"""Ways for the copies of a sentence to differ: tensor functions of tokens or embeddings and keys."""
