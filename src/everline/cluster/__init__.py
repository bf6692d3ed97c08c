"""Who is there, who leads, and what was done about those who are gone: heartbeats, election, failover log."""
