"""A run, whatever it trains: its folder, sessions, logs, processes, report."""
