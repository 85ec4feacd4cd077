"""What runs of this plugin need in half precision beyond fairseq: exact resume, plain endings."""
