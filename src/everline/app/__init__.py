"""HTTP API and Admin UI."""
