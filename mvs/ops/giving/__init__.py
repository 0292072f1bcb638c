"""What leaves the store as plain files: in a folder, or in an archive."""
