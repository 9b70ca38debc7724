"""What Serf adds on top of memberlist: tags, intents, Lamport clocks, member states."""
