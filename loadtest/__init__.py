"""What the service holds, measured against its own ceiling in one run. Talks to loopback only."""
