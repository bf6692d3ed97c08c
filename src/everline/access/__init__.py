"""Who may do what: users, roles, sessions, tokens, and what they did."""
