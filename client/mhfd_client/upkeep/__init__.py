"""Keep an installation going: a bundle for a helper, the ledger's backup, room made on disks."""
