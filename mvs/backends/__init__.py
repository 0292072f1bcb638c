"""Where bytes lie: file systems today. Knows nothing of ids, names or manifests."""
