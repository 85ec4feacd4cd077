"""What keeps a run and its checkpoints whole when machines, disks and losses fail."""
