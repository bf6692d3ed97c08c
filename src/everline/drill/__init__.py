"""Faults under load: traffic with a ledger of what was sent, and what the cluster made of it."""
