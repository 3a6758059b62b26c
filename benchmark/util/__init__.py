"""General helpers: errors, atomic files, signals, secrets."""
