"""The catalog: what queries ask of every version, in one SQLite file under `cache/`.

Derived from refs and manifests, and never the truth: it is believed only for the names whose folders are as they
were when it was written (`folders.py`), the others are read again before it answers (`catalog.py`).
"""
