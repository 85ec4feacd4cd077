"""How the plugin reaches into fairseq's models."""
