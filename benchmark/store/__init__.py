"""Everything on disk: run folders, plans, checkpoints, leases, and the ids that name them."""
