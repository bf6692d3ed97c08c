"""What keeps the replicated store whole: replicas compared, mended, woken up and brought back."""
