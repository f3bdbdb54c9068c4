"""Which weights move, on which loss, and how a killed run goes on."""
