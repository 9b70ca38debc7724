"""Membership by gossip: memberlist and Serf, usable as a library of its own."""
