"""Buckets: keys and values on somebody else's disk, where a key can be created once.

Knows nothing of what the keys mean.
"""

from mvs.backends.buckets.bucket import UPLOADS, Bucket, Found
from mvs.backends.buckets.opening import PATIENCE, Address, open_bucket
from mvs.backends.buckets.pace import Pace, Paced

__all__ = ["PATIENCE", "UPLOADS", "Address", "Bucket", "Found", "Pace", "Paced", "open_bucket"]
