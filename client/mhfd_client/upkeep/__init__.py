"""Keep an installation going: a bundle for a helper at a distance, and room made on disks."""
