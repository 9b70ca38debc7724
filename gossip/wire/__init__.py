"""Bytes to messages and back: everything that is on the wire, and nothing else."""
