"""SWIM with Lifeguard, as memberlist does it: table, probes, suspicion, gossip, push-pull."""
