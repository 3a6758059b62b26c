"""Small tools without knowledge of runs: errors, whole files, signals, secrets."""
