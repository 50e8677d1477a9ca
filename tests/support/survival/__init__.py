"""What tests of survival need: writers with a ledger, connections that count, and ways to break a real cluster."""
